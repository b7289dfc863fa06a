# `make demo`, `make test`: each sets up what it needs, and does so once.

# Compiled files are worth keeping: torch takes three times as long to import without them.
export PYTHONDONTWRITEBYTECODE =

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

# Processes that run tests: one more than cores, since those with Ray wait. `make test PROCESSES=0` runs them in this one, for a debugger.
PROCESSES ?= 3
PYTEST = $(BIN)/python -m pytest --numprocesses=$(PROCESSES)

.PHONY: demo demo-tasks check test test-slow coverage docs soak scale lint clean

demo: $(VENV)/.installed-demo
	$(BIN)/ltrp-pipeline demo

demo-tasks: $(VENV)/.installed-demo
	$(BIN)/ltrp-pipeline demo --tasks

# What is quick to know, before a commit: in less than a minute, from the second time on.
check: lint
	$(PYTEST) -m quick

test: lint
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# Which lines of the four packages the tests run, those that run in processes of their own included.
coverage: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow" --cov --cov-report=
	$(BIN)/coverage report

# The pages as a site, site/index.html: a link or a heading that is not there is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Minutes to an hour each: what dies is survived, and what 100,000 shards cost.
soak: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/soak

scale: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/scale.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# --no-compile saves half a minute of compiling files that are never imported.
$(VENV)/.installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile --editable .
	touch $@

$(VENV)/.installed-demo: $(VENV)/.installed
	$(PIP) install --no-compile --editable '.[demo]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --no-compile --editable '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install --no-compile --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) ltrp-demo build site *.egg-info .mypy_cache .ruff_cache
