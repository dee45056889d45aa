# The only entry points: what a person types, CI calls too. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# test processes at a time: much of a test is waiting for a browser or a process, so one more than there are cores
TEST_PROCESSES ?= 3
IMAGE ?= atelier-mes:latest
# named after what it was made from, and where, so that nothing is done when nothing changed
SOURCES := requirements.lock pyproject.toml scripts/python-environment.sh
INSTALLED := .venv/installed-$(shell { pwd; cat $(SOURCES); } | sha256sum | cut -c1-16)
COMPILED := .venv/compiled-$(shell { pwd; cat requirements.lock mes/models/*.py mes/models/formats/*.py mes/pricing/*.py \
	mes/pricing/kernel/*.py; } | sha256sum | cut -c1-16)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: setup
setup: $(COMPILED) ## install all that is needed to run, test and develop
	@scripts/system-packages.sh test

$(INSTALLED):
	@scripts/system-packages.sh run
	@rm -f .venv/installed-*
	@scripts/python-environment.sh
	@touch $@

# ahead of time, so that no price waits for the compiler; all anew, since a loop's cache does not know its helpers' files
$(COMPILED): $(INSTALLED)
	@find mes -name '*.nb[ic]' -delete
	@$(BIN)/python -m mes.pricing.kernel
	@rm -f .venv/compiled-*
	@touch $@

.PHONY: demo
demo: $(COMPILED) ## a generated workshop in the console; ARGS="--orders 1000 --seed 2"
	@$(BIN)/mes demo $(ARGS)

.PHONY: up
up: $(COMPILED) ## run everything on this machine, with your own data; see docs/configuration.md
	@$(BIN)/mes up

.PHONY: test
test: setup ## all tests; ARGS="tests/unit -k price" for some
	@$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist worksteal $(ARGS)

.PHONY: faults
faults: setup ## hurt the running system while orders live their lives; ARGS="--orders 20000 --seconds 1200"
	@$(BIN)/python -m tests.faults.suite $(ARGS)

.PHONY: lint
lint: $(INSTALLED) ## style, types, boundaries, SQL, the lock, containers, CI; stops at the first that fails
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy scripts deploy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt_project mes
	@$(BIN)/python scripts/check_lock.py
	@scripts/lint-containers.sh

.PHONY: bench
bench: $(COMPILED) ## benchmarks as JSON; NAME=list for one
	@$(BIN)/mes bench $(NAME) --json

.PHONY: image
image: ## build the container image; ARGS="--build-arg ..." as in docs/deployment.md
	@docker build --tag $(IMAGE) $(ARGS) .

.PHONY: smoke
smoke: image ## start the image by compose, and look whether every process answers
	@IMAGE=$(IMAGE) deploy/smoke.sh

.PHONY: lock
lock: $(INSTALLED) ## choose the newest versions that pyproject.toml allows; ARGS="--upgrade-package polars" for one
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml \
		--output-file requirements.lock --no-header --no-emit-index-url --no-emit-find-links $(ARGS)

.PHONY: clean
clean: ## remove what tools have left; .venv and the data in .mes stay
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist dbt_project/target dbt_project/logs
	@find . -path ./.venv -prune -o -path ./.mes -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
