#!/usr/bin/env bash
# Makes .venv hold exactly what requirements.lock says, and this repository.
set -euo pipefail
cd "$(dirname "$0")/.."

# uv does not read pip's configuration, and in a closed network that is where the mirror and its certificate stand
hand_over_pip_settings() {
    local index certificate
    index=$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$index}
    certificate=$(.venv/bin/python -m pip config get global.cert 2>/dev/null || true)
    certificate=${PIP_CERT:-$certificate}
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=$index
    fi
    if [ -n "$certificate" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE=$certificate
    fi
}

# a checkout that was moved or copied has a .venv that points elsewhere
is_ours() {
    grep -qsF "$PWD/.venv" .venv/bin/activate &&
        .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

# an installation that was cut short leaves packages in halves, which would pass for installed
if ! is_ours || [ -e .venv/installing ]; then
    python=$(scripts/find-python.sh)
    echo "making .venv with $python"
    "$python" -m venv --clear .venv
fi
touch .venv/installing
hand_over_pip_settings
if ! .venv/bin/uv --version >/dev/null 2>&1; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
fi
echo "installing what requirements.lock names"
export UV_LINK_MODE=${UV_LINK_MODE:-copy} # links do not reach from the cache into containers' volumes
VIRTUAL_ENV=$PWD/.venv
export VIRTUAL_ENV
.venv/bin/uv pip sync --quiet --require-hashes requirements.lock # keeps pip and uv themselves
.venv/bin/uv pip install --quiet --no-deps --editable .
rm .venv/installing
