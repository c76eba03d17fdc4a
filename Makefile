# `make run` and `make test` are all that a fresh machine needs: each sets up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread a process: the tests and the simulator run side by side on few cores.
export OMP_NUM_THREADS ?= 1

.PHONY: run test bench tasks results docs linkcheck install lint format clean

run: install
	$(BIN)/collapipe-ns3 run quickstart

test: install lint
	$(BIN)/python -m pytest -q -n 2 -m "not slow"
	$(BIN)/python -m pytest -q -n 2 -m slow

bench: install
	$(BIN)/python -m benchmarks

# Real tasks; COLLAPIPE_DATA and COLLAPIPE_MINILM name the folders of data and pretrained weights.
tasks: install
	$(BIN)/python -m benchmarks.tasks --document

# docs/results.md from its data; with STUDY=NAME, after that campaign, which continues where it was.
results: install
	$(BIN)/python -m benchmarks.results $(STUDY)

# The documentation site in build/site; every warning is an error.
docs: install
	$(BIN)/python -m sphinx -b html -E -q -W --keep-going docs build/site

# Asks the hosts of all external links, so it is no part of the tests.
linkcheck: install
	$(BIN)/python -m sphinx -b linkcheck -E -q docs build/links

install: $(READY)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch comes first and pinned, so that a CPU build is taken where one is at hand.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "collapipe-ns3 needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $(READY)
