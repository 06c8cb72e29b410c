VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
BIN = $(VENV)/bin
CONTAINERS ?= $(if $(findstring podman,$(DOCKER_HOST)),podman,$(if $(shell docker version >/dev/null 2>&1 && echo here),docker,podman))
IMAGES ?= slim train-cpu
REPOSITORY ?= ur4rec/python
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
.DEFAULT_GOAL := help
.PHONY: help run test lint pipeline images bench clean

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

images: ## Build the container images slim and train-cpu; IMAGES=train-gpu TORCH_ARGS=… for another
	@command -v $(CONTAINERS) >/dev/null || { echo "images: neither docker nor podman is here; install one" >&2; exit 1; }
	for target in $(IMAGES); do $(CONTAINERS) build $(BUILD_ARGS) -f images/Dockerfile --target $$target \
	    --build-arg TORCH_ARGS="$(TORCH_ARGS)" --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	    -t $(REPOSITORY):$(VERSION)-$$target . || exit 1; done

bench: $(VENV)/installed $(BENCH_VENV)/installed ## Measure against peers in the same run: hours, see docs/benchmarks.md
	$(BIN)/python -m benchmarks.preprocess
	$(BIN)/python -m benchmarks.peers --peers-python $(BENCH_VENV)/bin/python

clean: ## Remove the environments and all that runs left here, the registry included
	rm -rf $(VENV) $(BENCH_VENV) outputs mlflow.db mlartifacts build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
