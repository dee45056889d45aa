#!/usr/bin/env bash
# Installs the Debian packages that are missing: `run` for the system itself, `test` for what tests need: a browser,
# another program's measures of meshes, the message broker that shop and CRM have, the programs that alerts run in, and a
# compiler for what sets a program's clock wrong.
set -euo pipefail

usage() {
    echo "usage: $0 run|test" >&2
    exit 2
}

has_venv() {
    local python
    python=$("$(dirname "$0")/find-python.sh" 2>/dev/null) || return 0 # said by the next step, better than by apt
    "$python" -c 'import ensurepip, venv' 2>/dev/null
}

has_browser() {
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null
}

missing() {
    case $1 in
        run) has_venv || echo python3-venv ;;
        # without fonts, pages come out as empty boxes
        test)
            has_browser || echo chromium fonts-liberation
            command -v admesh >/dev/null || echo admesh
            command -v prometheus >/dev/null && command -v promtool >/dev/null || echo prometheus
            command -v prometheus-alertmanager >/dev/null || echo prometheus-alertmanager
            [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || echo rabbitmq-server
            command -v cc >/dev/null || echo gcc libc6-dev
            ;;
        *) usage ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }
}

install() {
    echo "installing: $*"
    # another apt may be at work, as on a machine that has just been started
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y -qq)
    as_root "${apt[@]}" install --no-install-recommends "$@" >/dev/null 2>&1 && return
    as_root "${apt[@]}" update >/dev/null
    as_root "${apt[@]}" install --no-install-recommends "$@" >/dev/null
}

[ $# -eq 1 ] || usage
purpose=$1
read -r -a packages <<<"$(missing "$purpose" | tr '\n' ' ')"
[ ${#packages[@]} -eq 0 ] && exit 0
if may_install && install "${packages[@]}"; then
    exit 0
fi
echo "These packages are missing and could not be installed: ${packages[*]}." >&2
echo "Let an administrator run: apt-get install ${packages[*]}" >&2
if [ "$purpose" = test ]; then
    echo "Going on without; the tests that need a browser will fail, those that need the others are skipped." >&2
    exit 0
fi
exit 1
