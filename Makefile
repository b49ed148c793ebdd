# Every target makes what it needs; `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.complete

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(STAMP) ## Make .venv with everything in it

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "CloudLab needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Start everything, trade for a year, check every promise
	$(BIN)/cloudlab demo

test: setup ## Run all tests on real servers; nothing is left running
	$(BIN)/pytest --numprocesses 2 --dist worksteal

check: setup ## Style, types, layers, sizes, migrations, standards, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_sizes.py
	$(BIN)/python scripts/check_migrations.py
	$(BIN)/cloudlab check --fail-on note src
	$(BIN)/python scripts/make_docs.py --check
	$(BIN)/python scripts/dump_schema.py --check

bench: setup ## Measure against the floor of the same run
	$(BIN)/python -m benchmarks

docs: setup ## Write the generated files again
	$(BIN)/python scripts/make_docs.py
	$(BIN)/python scripts/dump_schema.py

lock: setup ## Resolve the dependencies again (needs uv)
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --universal \
		--extra embedded --group dev --override lock-overrides.txt pyproject.toml -o requirements.lock

.PHONY: help setup demo test check bench docs lock
.DEFAULT_GOAL := help
