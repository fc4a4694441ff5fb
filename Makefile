# Everything is installed into .venv, from pyproject.toml, on first use.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help demo test check

help:
	@echo "make demo    watch a whole cycle run in a sandbox, on this machine"
	@echo "make test    run all tests"
	@echo "make check   lint, types, imports, notebooks"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed-%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: .venv/.installed-sandbox
	$(BIN)/python -m helpers.sandbox.demo

test: .venv/.installed-dev
	$(BIN)/python -m pytest --numprocesses 2

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z '*.ipynb' | xargs -0 $(BIN)/nbstripout --verify --keep-id
