# make help lists the targets. Everything happens in .venv; nothing is installed elsewhere.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.setup-stamp

export NO_ALBUMENTATIONS_UPDATE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-quick reproduce-f2l reproduce-f2f reproduce-ablation
.PHONY: test test-fast test-gpu test-docs test-oldest test-newest drill bench docs lint format lock wheel clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the pinned dependencies and this package (again only when they change)

# uv installs from its default index in one resolution, so torch and torchvision always fit each other.
# --compile-bytecode: imports take 11 s instead of 26 the first time.
$(STAMP): requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/uv:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv

demo: setup ## distil, compare and report on MiniCity (CPU, no downloads; about ten minutes with bf16 instructions)
	$(BIN)/gkd demo

demo-quick: setup ## the same with a few steps only; its numbers mean nothing
	$(BIN)/gkd demo --quick

# What the three below take from the command line: ROW=deit-s-gtav, PROFILE=smoke|short, SEEDS=0,1,2, OUT=folder,
# TFLOPS=250 (what one device sustains: the plan then says how many hours), DRY_RUN=1 (the plan alone)
REPRODUCE = $(if $(ROW),--row $(ROW)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(SEEDS),--seeds $(SEEDS)) \
	$(if $(OUT),--out $(OUT)) $(if $(TFLOPS),--tflops $(TFLOPS)) $(if $(DRY_RUN),--dry-run)

reproduce-f2l: setup ## Table 1, foundation model to local model: all rows, or ROW=deit-s-gtav; PROFILE=smoke tries it out
	$(BIN)/gkd reproduce f2l $(REPRODUCE)

reproduce-f2f: setup ## the same, foundation model to smaller foundation model
	$(BIN)/gkd reproduce f2f $(REPRODUCE)

reproduce-ablation: setup ## the paper's ablation, eight ways from DINOv2-B to DeiT-S
	$(BIN)/gkd reproduce ablation $(REPRODUCE)

# A file stays with one worker, which makes once what its tests share; tests/conftest.py begins with the longest.
IN_PARALLEL = -n 2 --dist loadfile --no-loadscope-reorder -q

test: setup ## run all tests, two at a time, one thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL)

test-fast: setup ## run the tests that take less than about ten seconds each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow"

test-gpu: setup ## run the tests that need a CUDA device
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadgroup -q -m gpu --durations 10

test-docs: setup ## run what the documents, the notebooks, this file and the workflows say
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(IN_PARALLEL) tests/test_docs.py tests/test_pages.py tests/test_site.py \
		tests/test_habits.py tests/test_notebooks.py

# What pyproject.toml promises, from both ends: an environment each, resolved when pyproject.toml changes
RESOLUTION_oldest := lowest-direct
RESOLUTION_newest := highest
.venv-%/.setup-stamp: pyproject.toml | $(BIN)/uv
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --upgrade --resolution $(RESOLUTION_$*) --editable ".[dev]"
	@touch $@

# What meets the libraries at their edges: networks, losses, counted costs, figures
EDGES := tests/bench/test_counted_task.py tests/chain/test_cost.py tests/chain/test_operation_counts.py tests/baselines \
	tests/deploy tests/distill tests/encoders tests/report tests/segment
test-oldest: .venv-oldest/.setup-stamp ## run a fast selection on the lowest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest $(IN_PARALLEL) -m "not slow" $(EDGES)

test-newest: .venv-newest/.setup-stamp ## run all tests on the newest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest $(IN_PARALLEL)

drill: setup ## stop a whole chain 20 times at random moments and compare its bits (10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chain.drill

# BENCH="--only stage1a --rounds 3" and the like; NAME tells this machine's results from others'
NAME ?= here
bench: setup ## measure every step, evaluation, loaders and start-up on this machine, write benchmarks/README.md
	PYTHONPATH=benchmarks $(BIN)/python -m gkd_bench $(BENCH) --out benchmarks/results/$(NAME).json --page benchmarks/README.md

docs: setup ## build the documentation site, docs/_build/index.html; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -c docs --fail-on-warning --keep-going . docs/_build

lint: setup ## ruff, mypy --strict, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff sort imports and format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: setup ## resolve requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --no-header --no-annotate --output-file requirements.lock

wheel: setup ## build dist/, check it, install the wheel into an environment of its own and run the quick demo from there
	rm -rf dist .venv-wheel
	$(BIN)/python -m build --no-isolation
	$(BIN)/uv tool run twine check --strict dist/*
	$(PYTHON) -m venv .venv-wheel
	$(BIN)/uv pip install --quiet --python .venv-wheel/bin/python dist/*.whl
	cd $$(mktemp -d) && $(CURDIR)/.venv-wheel/bin/gkd list recipes && $(CURDIR)/.venv-wheel/bin/gkd demo --quick

clean: ## remove caches and build outputs; runs/ and .venv stay
	rm -rf build dist docs/_build docs/reference .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
