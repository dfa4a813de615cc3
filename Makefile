# Needs make and Python 3.11 or later, nothing else. `make help` lists the targets.

VENV ?= .venv
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && { echo $$python; break; }; done)
# Only `make lock` uses uv, from a virtual environment of its own.
UV := uv==0.13.9
# One more than two cores: many tests wait for processes.
PYTEST_WORKERS ?= 3

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-long lint format types bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the locked packages and the package itself

run: $(STAMP) ## evolve a classifier of digits until done or Ctrl-C; run it again and it goes on
	$(VENV)/bin/penin run examples.evolve_digits:evolve --dir .penin_omega --log-format console --no-log-transitions

test: $(STAMP) ## the fast tests and seeded slices of the long ones
	$(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal -m "not long" --ignore=tests/benchmarks

test-long: $(STAMP) ## every test, with many more examples
	PENIN_TESTS=long $(PY) -m pytest -n $(PYTEST_WORKERS) --dist worksteal --timeout=1800

lint: $(STAMP) ## ruff: rules and format
	$(PY) -m ruff check
	$(PY) -m ruff format --check

format: $(STAMP) ## let ruff put things in order
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

types: $(STAMP) ## mypy: strict for the package and the examples
	$(PY) -m mypy

bench: $(STAMP) ## measure, against what others do on this machine
	$(PY) -m tests.benchmarks
	$(PY) -m tests.benchmarks.shared
	$(PY) -m tests.benchmarks.compression
	$(PY) -m tests.benchmarks.sizes --plots build/benchmarks --json build/benchmarks/sizes.json

# Pins that still fit are kept; `make lock UPGRADE=1` takes the newest of everything.
# One version of a package for all Pythons and platforms: what is tested is what is installed.
lock: ## write requirements.lock anew from pyproject.toml
	@$(require_python)
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --disable-pip-version-check --no-input --quiet $(UV)
	.venv-lock/bin/uv pip compile pyproject.toml --extra examples --group dev \
		--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
		--no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --quiet \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock
	rm -rf .venv-lock

clean: ## remove what make made; never a store
	rm -rf $(VENV) .venv-lock build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find penin tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last: a set-up that was interrupted has none, and is begun anew from nothing.
$(STAMP): requirements.lock pyproject.toml
	@$(require_python)
	@if [ -e $(UNFINISHED) ]; then rm -rf $(VENV); fi
	@rm -f $(STAMP) && mkdir -p $(VENV) && touch $(UNFINISHED)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@rm -f $(UNFINISHED) && touch $(STAMP)

define require_python
if [ -z "$(PYTHON)" ]; then \
	echo "make: no Python 3.11 or later with venv and ensurepip was found." >&2; \
	echo "make: on Debian and Ubuntu: apt-get install python3-venv." >&2; \
	echo "make: or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1; \
fi
endef
