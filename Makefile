VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help test lint clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

test: $(VENV)/installed ## Run the tests
	$(BIN)/python -m pytest

lint: $(VENV)/installed ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean: ## Remove the environment and everything a run leaves behind
	rm -rf $(VENV) outputs build .mypy_cache .ruff_cache .pytest_cache
