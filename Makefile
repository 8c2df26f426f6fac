# Needs Python 3.11 or newer and make; everything else goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The first interpreter that is new enough and can make a virtual environment.
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python3.14 python,\
	$(shell $(p) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))
UV_COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-config --quiet

SEEDS ?= 1-20
# One more than there are processors: tests wait for servers some of their time.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
EXAMPLES ?= 20

.PHONY: help demo up upgrade backup restore test test-slow test-hours test-faults test-compose bench lint lock clean
.DEFAULT_GOAL := help

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/run.stamp ## Play a year of a département through the real processes, then stop
	@$(BIN)/souche demo

up: $(VENV)/run.stamp ## Play the same, and leave everything running until Ctrl-C
	@$(BIN)/souche demo --stay

test: $(VENV)/dev.stamp ## Run the tests
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m "not slow and not hours and not faults and not compose" $(TESTS)

test-slow: $(VENV)/dev.stamp ## Run the slower tests: whole demonstrations, kills at every step
	@$(BIN)/pytest -q -n auto --dist load -m slow $(TESTS)

test-hours: $(VENV)/dev.stamp ## Run what takes hours: every pair of operators with tills, long fuzzing, random cases of each law
	@SOUCHE_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q -n auto --dist load -o timeout=3600 -m "hours or hypothesis" tests

test-faults: $(VENV)/dev.stamp ## Play random faults under load, SEEDS=1-20 or any others
	@FAULT_SEEDS=$(SEEDS) FAULT_REPORT=build/faults.json $(BIN)/pytest -q -m faults tests/faults; \
		result=$$?; $(BIN)/python -m tests.faults.report build/faults.json; exit $$result

test-compose: $(VENV)/dev.stamp ## Build and use the containers, where a Docker engine answers
	@$(BIN)/pytest -q -m compose tests/compose

bench: $(VENV)/run.stamp ## Measure the lines of docs/performance.md; QUICK=1 or LINES="redeem grant" for less
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(LINES)

upgrade: ## Containers: upgrade to the code that is checked out, without an interruption
	@deploy/upgrade

backup: ## Containers: write a backup of the three schemas to backups/
	@deploy/backup

restore: ## Containers: put the database back to FILE=…, or of it only SERVICE="redeemer …"
	@deploy/restore "$(FILE)" $(SERVICE)

lint: $(VENV)/dev.stamp ## Check style, types and walls
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: ## Resolve the dependencies into the two lock files
	$(if $(PYTHON),,$(error No Python 3.11 or newer with venv was found; name one with make PYTHON=…))
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" \
		&& "$$dir/bin/pip" install --quiet --disable-pip-version-check uv && PATH="$$dir/bin:$$PATH" \
		&& $(UV_COMPILE) --extra embedded --extra tracing -o requirements.lock \
		&& $(UV_COMPILE) --extra embedded --extra tracing --extra dev -c requirements.lock -o requirements-dev.lock

audit: $(VENV)/run.stamp ## Compare the lock files with the stored report of known vulnerabilities (offline)
	@$(BIN)/python -m deploy.supply.audit

audit-report: $(VENV)/run.stamp ## Make that report again: online by pip-audit (SERVICE=pypi or osv), or of a file (FROM=…)
ifdef FROM
	@$(BIN)/python -m deploy.supply.audit look-up $(FROM) "$(or $(SOURCE),$(notdir $(FROM)))"
else
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" \
		&& "$$dir/bin/pip" install --quiet --disable-pip-version-check pip-audit \
		&& { "$$dir/bin/pip-audit" --disable-pip --require-hashes --progress-spinner off --format json \
			--vulnerability-service $(or $(SERVICE),pypi) \
			-r requirements.lock -r requirements-dev.lock -o "$$dir/found.json" || test -s "$$dir/found.json"; } \
		&& $(BIN)/python -m deploy.supply.audit store "$$dir/found.json"
endif

sbom: $(VENV)/run.stamp ## Write the bill of materials of production to build/sbom.cdx.json (CycloneDX)
	@mkdir -p build && $(BIN)/python -m deploy.supply.sbom > build/sbom.cdx.json && echo build/sbom.cdx.json

clean: ## Remove the environment and all caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(if $(PYTHON),,$(error No Python 3.11 or newer with venv was found; name one with make PYTHON=…))
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing what requirements.lock names"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	@echo "Installing what requirements-dev.lock names"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
