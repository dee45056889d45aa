#!/usr/bin/env bash
# Starts the image by compose on empty volumes, as a new user would, and looks whether every process answers.
set -euo pipefail
cd "$(dirname "$0")"

export IMAGE=${IMAGE:-atelier-mes:latest}
# beside an installation that may be running here
export API_PORT=18000 CONSOLE_PORT=18501 DAGSTER_PORT=13000 NATS_PORT=14222 LISTEN_ADDRESS=127.0.0.1
POSTGRES_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
NATS_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export POSTGRES_PASSWORD NATS_PASSWORD

compose() {
    docker compose --project-name atelier-mes-smoke --file compose.yaml "$@"
}

clean_up() {
    local status=$?
    [ "$status" -eq 0 ] || compose logs --tail 50
    compose down --volumes --timeout 10
    exit "$status"
}

docker run --rm --read-only --tmpfs /tmp --cap-drop ALL "$IMAGE" --help >/dev/null
trap clean_up EXIT
compose up --detach --wait --wait-timeout 600 --scale worker=2
python3 healthy.py "http://127.0.0.1:$API_PORT/readyz"
python3 healthy.py "http://127.0.0.1:$CONSOLE_PORT/readyz"
python3 healthy.py "http://127.0.0.1:$DAGSTER_PORT/server_info"
[ "$(compose ps --quiet worker | wc -l)" -eq 2 ]
echo "every process answers"
