# `make test` and `make demo` set up all they need in .build; `make help` lists the rest.

PYTHON := $(or $(shell command -v python3.11),python3)

.PHONY: help test test-core test-browser test-airflow test-prefect test-live test-scale lint format demo demo-open
.PHONY: bench bench-live constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

test: ## everything that CI checks
	@$(PYTHON) tools/run_tests.py

test-core: ## core and sandbox, without an engine
	@$(PYTHON) tools/run_tests.py core

test-browser: ## the sandbox's page, in Chromium
	@$(PYTHON) tools/run_tests.py browser

test-airflow: ## the Airflow wing, on both Airflows
	@$(PYTHON) tools/run_tests.py airflow

test-prefect: ## the Prefect wing
	@$(PYTHON) tools/run_tests.py prefect

test-live: ## real Airflow and Prefect servers
	@$(PYTHON) tools/run_tests.py live

test-scale: ## hundreds of runs on Celery and Prefect workers under the service's limit: nothing is lost (half an hour)
	@$(PYTHON) tools/scale.py

lint: ## ruff and mypy
	@$(PYTHON) tools/run_tests.py lint

format: ## let ruff put the sources in order
	@$(PYTHON) tools/environments.py core
	@RUFF_CACHE_DIR=.build/ruff .build/env-core/bin/ruff check --fix
	@RUFF_CACHE_DIR=.build/ruff .build/env-core/bin/ruff format

demo: ## real runs in both engines, and what the lock screen shows after them
	@$(PYTHON) tools/environments.py airflow-3.3 prefect-3.8
	@.build/env-airflow-3.3/bin/python tools/demo.py

demo-open: ## the same, and the sandbox's page stays open until Ctrl-C
	@$(PYTHON) tools/environments.py airflow-3.3 prefect-3.8
	@.build/env-airflow-3.3/bin/python tools/demo.py --stay

bench: ## what it costs, side by side with what people would use otherwise
	@$(PYTHON) tools/bench.py

bench-live: ## what showing a run from start to end costs the engines (a quarter of an hour)
	@$(PYTHON) tools/live_cost.py

constraints: ## pin the newest versions that the environments may have
	@$(PYTHON) tools/environments.py --compile

clean: ## forget the environments and all else that was built
	rm -rf .build
