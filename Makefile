VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
BIN = $(VENV)/bin
WORKERS ?= auto
CONTAINERS ?= $(if $(findstring podman,$(DOCKER_HOST)),podman,$(if $(shell docker version >/dev/null 2>&1 && echo here),docker,podman))
IMAGES ?= slim train-cpu
REPOSITORY ?= ur4rec/python
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
.DEFAULT_GOAL := help
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
    --no-emit-package torch --constraint requirements-torch.lock $(LOCK_ARGS)
HASHED = install --quiet --no-deps --require-hashes
.PHONY: help run test lint audit lock pipeline images bench clean

help: ## Show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/installed: requirements.lock requirements-torch.lock images/build.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip $(HASHED) -r images/build.lock
	$(BIN)/python -m pip $(HASHED) --no-build-isolation -r requirements.lock
	$(BIN)/python -m pip install --quiet $(TORCH_ARGS) -r requirements-torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(BENCH_VENV)/installed: benchmarks/requirements.txt requirements-torch.lock
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip $(HASHED) -r benchmarks/requirements.txt
	$(BENCH_VENV)/bin/python -m pip install --quiet $(TORCH_ARGS) -r requirements-torch.lock
	touch $@

run: $(VENV)/installed ## Train, evaluate and register on MovieLens-100K, as a pipeline on this machine
	$(BIN)/python -m pipelines run

test: $(VENV)/installed ## Run the tests, a process for each core and four at most; WORKERS=0 for one after the other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal $(TEST_ARGS)

lint: $(VENV)/installed ## Check style, types, the direction of imports and pipeline.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pipelines compile --check

audit: $(VENV)/installed ## Look up every pin among known vulnerabilities; a pin that could not be looked up is a failure
	for lock in requirements.lock images/build.lock images/slim.lock images/train.lock benchmarks/requirements.txt; do \
	    $(BIN)/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r requirements-torch.lock

lock: $(VENV)/installed ## Write the lock files anew, versions kept where they fit; LOCK_ARGS="--upgrade-package NAME" for a newer one
	$(LOCK) pyproject.toml --all-extras -o requirements.lock
	for image in build slim; do $(LOCK) images/$$image.txt -c requirements.lock -o images/$$image.lock || exit 1; done
	$(LOCK) images/slim.txt images/train.txt -c requirements.lock -o images/train.lock
	$(LOCK) --no-deps benchmarks/requirements.in -o benchmarks/requirements.txt

pipeline: $(VENV)/installed ## Compile pipeline.yaml
	$(BIN)/python -m pipelines compile

images: $(VENV)/installed ## Build and describe the images slim and train-cpu; IMAGES=train-gpu TORCH_ARGS=… for another
	@command -v $(CONTAINERS) >/dev/null || { echo "images: neither docker nor podman is here; install one" >&2; exit 1; }
	for target in $(IMAGES); do $(CONTAINERS) build $(BUILD_ARGS) -f images/Dockerfile --target $$target \
	    --build-arg TORCH_ARGS="$(TORCH_ARGS)" --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	    -t $(REPOSITORY):$(VERSION)-$$target . \
	    && $(BIN)/python .ci/describe_image.py $(CONTAINERS) $(REPOSITORY):$(VERSION)-$$target $$target build || exit 1; done

bench: $(VENV)/installed $(BENCH_VENV)/installed ## Measure against peers in the same run: hours, see docs/benchmarks.md
	$(BIN)/python -m benchmarks.preprocess
	$(BIN)/python -m benchmarks.peers --peers-python $(BENCH_VENV)/bin/python

clean: ## Remove the environments and all that runs left here, the registry included
	rm -rf $(VENV) $(BENCH_VENV) outputs mlflow.db mlartifacts build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
