# `make demo`, `make test`: each sets up what it needs, and does so once.

# Compiled files are worth keeping: torch takes three times as long to import without them.
export PYTHONDONTWRITEBYTECODE =

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo demo-tasks test test-slow soak scale lint clean

demo: $(VENV)/.installed
	$(BIN)/ltrp-pipeline demo

demo-tasks: $(VENV)/.installed
	$(BIN)/ltrp-pipeline demo --tasks

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# Minutes to an hour each: what dies is survived, and what 100,000 shards cost.
soak: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/soak.py

scale: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/scale.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# --no-compile saves half a minute of compiling files that are never imported.
$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile --editable '.[all]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --no-compile --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) ltrp-demo build *.egg-info .mypy_cache .ruff_cache
