# Targets explain themselves: `make` lists them. The environment is made by itself, and again when dependencies change.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 python3.12 python3.13 python3.14 python3 | head -n 1)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@"$(or $(PYTHON),python3)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "realstack needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Installing what the project needs into $(VENV): once, and again when that changes (a minute or two; seconds with uv)."
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV); \
		uv pip install --quiet --python $(VENV) --constraint constraints.txt --compile-bytecode --editable '.[dev]'; \
	else \
		"$(PYTHON)" -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

.PHONY: e2e
e2e: $(STAMP) ## Run the end-to-end tests on real Postgres, real Redis and the fake LLM.
	$(BIN)/pytest tests/e2e $(ARGS)

.PHONY: smoke
smoke: $(STAMP) ## Run the smoke tests against the local target.
	$(BIN)/pytest tests/smoke $(ARGS)

# Four at a time, each file in one process: servers are started once for a file, and much of the time is waiting.
# In the order of tests/conftest.py: those with the most tests first would leave the longest, of a few tests, to the end.
# `make test ARGS="-n 0 --pdb"`: one, in the terminal.
.PHONY: test
test: $(STAMP) ## Run every test.
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

SEQUENCES ?= 10000
ON ?= 15 17 18
SEED ?=
.PHONY: proof
proof: $(STAMP) ## Prove the reset in place: SEQUENCES random ones on each PostgreSQL of ON="15 17 18"; SEED repeats a run.
	@seed="$(SEED)"; seed=$${seed:-$$RANDOM}; echo "make proof SEQUENCES=$(SEQUENCES) ON='$(ON)' SEED=$$seed repeats this run."; \
	REALSTACK_SEQUENCES=$(SEQUENCES) REALSTACK_PROOF_ON="$(ON)" REALSTACK_SHARDS=4 REALSTACK_SEED=$$seed \
		$(BIN)/pytest tests/integration/state/test_reset_property.py -n 3 $(ARGS)

REDIS_SEQUENCES ?= 5000
.PHONY: proof-redis
proof-redis: $(STAMP) ## Prove the reset of Redis: REDIS_SEQUENCES by exchange, half of that on Redis 8, a fifth in each other way.
	@seed="$(SEED)"; seed=$${seed:-$$RANDOM}; echo "make proof-redis REDIS_SEQUENCES=$(REDIS_SEQUENCES) SEED=$$seed repeats this run."; \
	REALSTACK_SEQUENCES=$(REDIS_SEQUENCES) \
		$(BIN)/pytest tests/integration/state/test_redis_proof.py -n 2 --hypothesis-seed=$$seed -k nothing_differs $(ARGS)

.PHONY: unit
unit: $(STAMP) ## Run the tests that need no service.
	$(BIN)/pytest tests/unit examples/netra/tests/unit $(ARGS)

.PHONY: check
check: lint types unit ## What CI and pre-commit run: ruff, mypy, import-linter, unit tests. With -j2 in half the time.

.PHONY: lint
lint: $(STAMP) ## ruff, and import-linter: who may import whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=examples/netra $(BIN)/lint-imports --no-cache

.PHONY: types
types: $(STAMP) ## mypy, strict.
	$(BIN)/mypy

.PHONY: gates
gates: $(STAMP) ## Look at our own packages and the reference application with the gates.
	$(BIN)/realstack check $(ARGS)

.PHONY: format
format: $(STAMP) ## Sort imports and format.
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

.PHONY: bench
bench: $(STAMP) ## Measure start-up side by side with the peers; prints a table.
	$(BIN)/python -m benchmarks.startup $(ARGS)

.PHONY: images
images: ## Build Postgres, Redis and Python images from Debian packages, where none can be pulled.
	"$(PYTHON)" images/build.py $(ARGS)

.PHONY: up
up: $(STAMP) ## Start the services in the background; tests attach to them.
	$(BIN)/realstack up $(ARGS)

.PHONY: down
down: $(STAMP) ## Stop them, and sweep what killed runs have left.
	$(BIN)/realstack down $(ARGS)

.PHONY: doctor
doctor: $(STAMP) ## Look at what this machine offers, and what it lacks.
	$(BIN)/realstack doctor $(ARGS)

.PHONY: wheel
wheel: $(STAMP) ## Build the wheel and the source distribution into dist/.
	$(BIN)/python -m build --outdir dist $(ARGS)

.PHONY: package
package: $(STAMP) ## Build the wheel, install it in an environment of its own, and use it as a new project would.
	.ci/package

# NAMES="litellm langchain": these alone, instead of all.
NAMES ?=
.PHONY: conformance
conformance: $(STAMP) ## Try the fake LLM with frameworks and agents, each in an environment of its own.
	$(BIN)/python -m conformance $(NAMES) $(ARGS)

.PHONY: clean
clean: ## Remove what the targets have made here.
	rm -rf $(VENV) .venv-conformance dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
