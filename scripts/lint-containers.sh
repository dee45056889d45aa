#!/usr/bin/env bash
# Checks the image, compose, the workflows and all shell scripts, with tools from .venv that ask nothing of a network.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH # where actionlint finds shellcheck too

hadolint Dockerfile
shellcheck .ci/run scripts/*.sh deploy/*.sh
actionlint .github/workflows/*.yml
zizmor --offline --quiet --no-progress --persona auditor --strict-collection .github
export POSTGRES_PASSWORD=any NATS_PASSWORD=any GRAFANA_PASSWORD=any
docker-compose --env-file /dev/null --file deploy/compose.yaml config --quiet
docker-compose --env-file /dev/null --file deploy/compose.yaml --file deploy/observability.yaml config --quiet
