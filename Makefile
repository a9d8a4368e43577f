# Needs make and Python 3.11 or newer. Everything is installed into .venv in this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib
export NO_MKDOCS_2_WARNING := 1

.PHONY: help setup demo test test-slow check docs format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/dev.stamp $(VENV)/docs.stamp  ## install the package and all tools into .venv

demo: $(VENV)/core.stamp  ## film, training, generation, measurement, report: offline, on a CPU
	$(BIN)/cinetune demo

test: $(VENV)/dev.stamp  ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not network"

test-slow: $(VENV)/dev.stamp  ## the tests that take minutes
	$(BIN)/python -m pytest -n 2 --maxschedchunk 1 -m "slow and not network"

check: setup  ## format, lint, types, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mkdocs build --strict --quiet

docs: $(VENV)/docs.stamp  ## build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

format: $(VENV)/dev.stamp  ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv, caches and everything that was built
	rm -rf $(VENV) site build dist demo-run .pytest_cache .ruff_cache .mypy_cache

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PIP) -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/core.stamp

$(VENV)/docs.stamp: $(VENV)/dev.stamp
	$(PIP) -e ".[dev,docs]"
	@touch $@
