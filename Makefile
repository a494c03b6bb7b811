# The commands of this project: `make help` lists them. Every one sets up what it needs by itself, in $(VENV), with the
# versions of constraints.txt; a second call is quick.

EXAMPLE ?= anagrams
PYTHON ?= python3
VENV ?= .venv
SOAK_SECONDS ?= 300
TESTERS ?= logical
ARGS ?=

# Every worker process would compile all of the package anew.
unexport PYTHONDONTWRITEBYTECODE

# Those of the contract that are about carrying messages, starting and ending; all of it: ARGS=tests/contract
RAY_TESTS := tests/cluster tests/contract/test_engine.py tests/contract/test_classic.py tests/contract/test_queues.py

BIN := $(VENV)/bin
# Most of what is installed is never imported: it is compiled when it is.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile --constraint constraints.txt
FRESH := $(VENV)/.venv-ready
READY_RUN := $(VENV)/.run-ready
READY_DEV := $(VENV)/.dev-ready
READY_RAY := $(VENV)/.ray-ready
READY_BENCH := $(VENV)/.bench-ready
READY_DOCS := $(VENV)/.docs-ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-ray soak check lint types imports wheel docs format bench clean FORCE

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "variables: EXAMPLE=$(EXAMPLE)  PYTHON=$(PYTHON)  VENV=$(VENV)  TESTERS=$(TESTERS)  ARGS='more arguments' (run, test, soak, bench)"

run: ## run an example, EXAMPLE=anagrams unless told otherwise
	@if [ ! -f 'examples/$(EXAMPLE)/manager.py' ]; then \
	    echo "There is no example '$(EXAMPLE)'. There are:" >&2; \
	    for file in examples/*/manager.py; do echo "    make run EXAMPLE=$$(basename "$$(dirname "$$file")")" >&2; done; \
	    exit 2; \
	fi
	@$(MAKE) --no-print-directory --silent $(READY_RUN)
	@$(BIN)/python 'examples/$(EXAMPLE)/manager.py' $(ARGS)

test: $(READY_DEV) ## run the tests, TESTERS processes at a time
	$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal $(ARGS)

test-ray: $(READY_RAY) ## the same on Ray clusters, in a network of their own
	EISENMP_TESTS_ON_RAY=1 tools/loopback.sh $(BIN)/python -m pytest -n 3 --dist loadfile -k "ray or cluster" $(if $(ARGS),$(ARGS),$(RAY_TESTS))

soak: $(READY_DEV) ## long jobs under random faults, SOAK_SECONDS=300 in all
	$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS) $(ARGS)

check: lint types imports wheel docs test ## all that CI runs

lint: $(READY_DEV) ## style and likely bugs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY_DEV) ## mypy
	$(BIN)/mypy

imports: $(READY_DEV) ## the order of imports
	$(BIN)/lint-imports --no-logo

format: $(READY_DEV) ## mend what can be mended mechanically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY_DEV) ## build the package, then install and import it in a throw-away environment
	@rm -rf dist
	$(BIN)/python -m build --no-isolation
	@set -eu; \
	    scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	    $(BIN)/python -m venv "$$scratch/venv"; \
	    "$$scratch/venv/bin/python" -m pip --disable-pip-version-check install -qq --constraint constraints.txt dist/*.whl; \
	    cd "$$scratch"; \
	    venv/bin/python -m pip --disable-pip-version-check check; \
	    venv/bin/python -W error -c 'import eisenmp, pathlib, sys; \
	        assert pathlib.Path(sys.prefix) in pathlib.Path(eisenmp.__file__).parents, eisenmp.__file__; \
	        print("the wheel imports as", eisenmp.__name__, "on Python", sys.version.split()[0])'

docs: $(READY_DOCS) ## make the site: build/site/index.html
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html --doctree-dir build/doctrees docs build/site
	@echo "build/site/index.html"

bench: $(READY_BENCH) $(if $(filter ray,$(ARGS)),$(READY_RAY)) ## measure, beside other libraries
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove all that these commands have made
	rm -rf $(VENV) .venv .venv-* build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Setting up. Each stamp file says that a step is done; it is done again when a file named behind it has changed.

# An environment made with another PYTHON is made anew.
ifneq ($(shell cat $(FRESH) 2>/dev/null),$(PYTHON))
$(FRESH): FORCE
endif
$(FRESH): debian-packages.txt tools/system-packages.sh
	@tools/system-packages.sh '$(PYTHON)' python venv
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "eisenmp needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV), once; this takes about a minute."
	@'$(PYTHON)' -m venv --clear $(VENV)
	@echo '$(PYTHON)' > $@

$(READY_RUN): $(FRESH) pyproject.toml constraints.txt
	@$(PIP_INSTALL) pip
	@$(PIP_INSTALL) --build-constraint constraints.txt --editable '.[cli,watch,examples]'
	@touch $@

$(READY_DEV): $(READY_RUN)
	@tools/system-packages.sh '$(PYTHON)' compiler headers browser
	@$(PIP_INSTALL) --group dev
	@touch $@

$(READY_RAY): $(READY_DEV)
	@$(PIP_INSTALL) --group ray
	@touch $@

$(READY_BENCH): $(READY_RUN)
	@$(PIP_INSTALL) --group bench
	@$(PIP_INSTALL) --build-constraint constraints.txt --group bench-compiled \
	    || echo "Going on without faster-fifo, a peer that has to be compiled here and does not build." >&2
	@touch $@

$(READY_DOCS): $(READY_RUN)
	@$(PIP_INSTALL) --group docs
	@touch $@
