# `make test` and `make demo` set up all that they need in .build.

PYTHON := $(or $(shell command -v python3.11),python3)
BIN := .build/nox/bin
RUN := PYTHONPATH=tests $(BIN)/python tools/checks.py

# nox and what it starts find uv here; nothing downloads a Python.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help test test-ci test-all sessions format demo-open docs docs-serve clean

help: ## list the targets; the names of `make sessions` are targets, too
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

test: $(BIN)/nox ## lint, types, all packages, the newest engines, and one run of each engine
	@$(RUN) test

test-ci: $(BIN)/nox ## the same, then older engines, other Pythons, lowest and next versions, the site: what CI runs
	@$(RUN) test ci

test-all: $(BIN)/nox ## the same, then real deployments of every engine version
	@$(RUN) test ci live

sessions: $(BIN)/nox ## the single checks; `make core`, or `make core T=tests/core/test_keys.py` for a part of one
	@$(BIN)/nox --list

format: $(BIN)/nox ## let ruff put the sources in order
	@$(BIN)/nox --session lint --install-only 2>/dev/null
	@.build/env/lint/bin/ruff check --fix
	@.build/env/lint/bin/ruff format

lint: ## ruff, spelling, GitHub's files
demo: ## real runs in both engines, and what the lock screen shows after them
demo-open: $(BIN)/nox ## the same, and the sandbox's page stays open until Ctrl-C
	@$(BIN)/nox --session demo -- --stay

docs: $(BIN)/nox ## the site, built strictly, and its tests
	@$(BIN)/nox --session docs -- $(T)

docs-serve: $(BIN)/nox ## the documentation at http://127.0.0.1:8000, as it is written
	@$(BIN)/nox --session docs -- serve

bench: ## what it costs, side by side with what people would use otherwise
bench-live: ## what showing a run from start to end costs the engines (a quarter of an hour)
bench-prefect-follow: ## what following a run costs Prefect; with T="--runs 200" what a serve process holds after them
bench-sandbox: ## the sandbox under 100,000 requests, and its page with 1,000 streams in Chromium (some minutes)
test-airflow-examples: ## Airflow's own example DAGs, tagged and run, as a table
follow-run: ## the operator that follows a run, through bad minutes, as a table
test-chaos: ## what is shown of runs while processes are killed, the database restarts and the service fails (an hour)
soak: ## an hour of runs at the service's limit: what the long-lived processes have then
scale: ## hundreds of runs on Celery and Prefect workers under the service's limit: nothing is lost (half an hour)
constraints: ## resolve the newest versions that the environments may have
release: ## check what a release has to have

clean: ## forget the environments and all else that was built
	rm -rf .build

# nox itself, by way of uv: a bare Python has pip, but not always venv.
$(BIN)/nox: tests/constraints/nox.txt
	@echo "install nox ..."
	@$(PYTHON) -m pip install --quiet --quiet --upgrade --target .build/uv 'uv>=0.9,<1'
	@.build/uv/bin/uv venv --quiet --clear --no-project --python $(PYTHON) .build/nox
	@.build/uv/bin/uv pip install --quiet --python .build/nox --constraints $< --group nox
	@touch $@

Makefile tests/constraints/nox.txt: ;
%: $(BIN)/nox
	@$(BIN)/nox --session $@ -- $(T)
