# Everything is installed into .venv, from pyproject.toml, on first use.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help demo lab test faults model mutants nightly simulate check bench forecasts workflows \
	matrix

help:
	@echo "make demo    watch a whole cycle run in a sandbox, on this machine"
	@echo "make lab     JupyterLab on such a sandbox, to practise in; ARGS=--fresh makes it anew"
	@echo "make test    run the tests, a selection of the faults among them"
	@echo "make faults  kill monitors at every point; takes minutes"
	@echo "make simulate SEED=1 DAYS=30   weeks of a team's life in minutes"
	@echo "make model   search every state of chaining and of polling, and find what each part prevents"
	@echo "make mutants change the pure floors in some thousand ways, and see whether the tests notice"
	@echo "make nightly the large sizes of model, conformance, simulation, soak, mutants and faults; takes hours"
	@echo "make check   lint, types, imports, notebooks"
	@echo "make bench   measure, against targets and the old way; writes docs/performance.md"
	@echo "make matrix  with each Python and PostgreSQL that is found, the lowest and newest JupyterLab"
	@echo "make workflows TO=<folder>   copy the notebooks to work with; again after each upgrade"
	@echo "make forecasts   evaluate the forecasts, with TRACES=<folder> also on its *.csv.gz; writes docs/forecasts.md"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	@echo "Making .venv with $(PYTHON)"
	@if command -v uv >/dev/null; then uv venv --quiet --python $(PYTHON) .venv; else $(PYTHON) -m venv .venv; fi

# Tests start hundreds of kernels, servers and monitors, and each would compile what it imports.
COMPILED_dev := --compile-bytecode
COMPILED_bench := --compile-bytecode

# uv installs in seconds what takes pip a minute; if it cannot be had, or fails, pip does it.
# Behind a proxy that looks into TLS, the system knows the certificate, and uv is told to ask it.
.venv/.installed-%: pyproject.toml jupyter/batch-monitoring.json | .venv/bin/python
	@echo "Installing what \`make\` needs ($*) into .venv"
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@uv=$$(command -v uv || command -v $(BIN)/uv) && UV_SYSTEM_CERTS=1 \
		"$$uv" pip install --python $(BIN)/python --editable '.[$*]' $(COMPILED_$*) \
	|| { echo "Installing with pip"; $(BIN)/python -m ensurepip >/dev/null 2>&1; \
		$(BIN)/python -m pip install --disable-pip-version-check --editable '.[$*]'; }
	@touch $@

lab: .venv/.installed-lab,sandbox
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m sandbox.lab $(ARGS)

demo: .venv/.installed-sandbox
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m sandbox.demo $(ARGS)

# Six processes keep two cores busy: half of the time, a test waits.
test: .venv/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder

# FAULTS_REPETITIONS=3 runs each crash three times.
faults: .venv/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 4 -m faults

model: .venv/.installed-dev
	$(BIN)/python -m tests.model

# PROCESSES=2 leaves the other cores alone.
mutants: .venv/.installed-mutants
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m tests.mutants $(if $(PROCESSES),--processes $(PROCESSES))

# Each part runs, whatever became of the others; PARTS='model faults' runs some of them.
nightly: .venv/.installed-dev
	$(BIN)/python -m tests.nightly $(PARTS)

# SEEDS=10 runs ten seeds; what went wrong is printed with its seed and shortest prefix.
simulate: .venv/.installed-dev
	$(BIN)/python -m tests.simulation --seed $(or $(SEED),1) --seeds $(or $(SEEDS),1) --days $(or $(DAYS),30)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -c 'import helpers.constants'  # its tables are complete, or it cannot be imported
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z '*.ipynb' | xargs -0 $(BIN)/nbstripout --verify --keep-id

bench: .venv/.installed-bench
	$(BIN)/python -m pytest tests/benchmarks/bench_monitor.py

forecasts: .venv/.installed-dev
	$(BIN)/python -m tests.forecasts $(if $(TRACES),"$(TRACES)")

# Whoever runs the notebooks of the checkout itself changes them, and cannot pull any more.
# KERNEL=batch-monitor has the monitor's notebooks name that kernel, for a Jupyter of another environment;
# without it they name the one that they named before.
KERNEL_OF := import json, sys; print(json.load(open(sys.argv[1]))["metadata"]["kernelspec"]["name"])
workflows:
	@test -n "$(TO)" || { echo "Name the folder: make workflows TO=~/workflows"; exit 1; }
	@mkdir -p "$(TO)"
	@before=$$($(PYTHON) -c '$(KERNEL_OF)' "$(TO)/_Tools/Batch Management/Monitor Active Jobs.ipynb" 2>/dev/null); \
	kernel="$(or $(KERNEL),$${before:-python3})"; \
	cp -R workflows/_Tools workflows/_Template "$(TO)/" && \
	find "$(TO)/_Tools" -name '*.ipynb' -exec sed -i.bak "s/\"name\": \"python3\"/\"name\": \"$$kernel\"/" {} + && \
	find "$(TO)/_Tools" -name '*.ipynb.bak' -delete && \
	{ test "$$kernel" = python3 || echo "Those in _Tools name the kernel $$kernel; KERNEL=python3 changes it."; }
	@echo "Copied _Tools and _Template. In .env: IRP_WORKFLOWS_DIR=$$(cd "$(TO)" && pwd)"

# MATRIX='--servers 14 16 --tests tests/integration/test_schema.py' runs a part of it.
matrix: .venv/.installed-dev
	$(BIN)/python -m tests.matrix $(MATRIX)
