# Two commands for a newcomer: `make run` and `make test`. Each sets itself up.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=

.PHONY: help run test test-all bench reference lint types services clean

help:
	@echo "make run       install into $(VENV) and serve the demo site on http://127.0.0.1:8000"
	@echo "make test      install into $(VENV), lint, check types, run every test"
	@echo "make test-all  the tests on every Python from 3.11 on that is found"
	@echo "make bench     compare with other servers; ARGS=\"--list\" shows what there is"
	@echo "make reference write docs/reference/settings.md, and the tables of docs/migration, anew"

run: $(VENV)/.example
	$(BIN)/python examples/chat/manage.py migrate --verbosity 0
	$(BIN)/aserver --app-dir examples/chat $(ARGS) chatsite.asgi:application

test: services lint types
	scripts/tests $(BIN)/python $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

test-all: services
	scripts/test-all $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(ARGS)

reference: $(VENV)/.dev
	$(BIN)/python scripts/reference
	$(BIN)/python scripts/migration

services:
	scripts/services

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.example: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[example]"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ $(VENV)/.example

clean:
	rm -rf $(VENV) .venv-* .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
