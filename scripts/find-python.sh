#!/usr/bin/env bash
# Prints the path of a Python 3.11 (not a virtual one), since `python3` may be another and a shim may lead nowhere.
set -euo pipefail

for candidate in ${PYTHON:-} python3.11 python3; do
    if path=$("$candidate" -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit(1); print(sys._base_executable)' 2>/dev/null); then
        echo "$path"
        exit 0
    fi
done
echo "Python 3.11 was not found. Install it (Debian 12: apt-get install python3 python3-venv), or run: make PYTHON=/path/to/python3.11" >&2
exit 1
