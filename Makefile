VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
BIN = $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help run test lint pipeline bench clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

$(BENCH_VENV)/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -r benchmarks/requirements.txt
	touch $@

run: $(VENV)/installed ## Train, evaluate and register on MovieLens-100K, as a pipeline on this machine
	$(BIN)/python -m pipelines run

test: $(VENV)/installed ## Run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/installed ## Check style, types, the direction of imports and pipeline.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pipelines compile --check

pipeline: $(VENV)/installed ## Compile pipeline.yaml
	$(BIN)/python -m pipelines compile

bench: $(VENV)/installed $(BENCH_VENV)/installed ## Measure against peers in the same run: hours, see docs/benchmarks.md
	$(BIN)/python -m benchmarks.preprocess
	$(BIN)/python -m benchmarks.peers --peers-python $(BENCH_VENV)/bin/python

clean: ## Remove the environments and all that runs left here, the registry included
	rm -rf $(VENV) $(BENCH_VENV) outputs mlflow.db mlartifacts build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
