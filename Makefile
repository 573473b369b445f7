# Everything a developer or CI runs. `make setup` is implied by the others.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_COMPILE_BYTECODE = 1
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup demo test test-all check fmt bench lock snap pictures run clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock && \
	  uv pip install --quiet --no-deps --python $(BIN)/python -e . ; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ; \
	fi
	@$(BIN)/python -m compileall -q core tui themes
	@touch $@

demo: setup
	@$(BIN)/perstack demo $(ARGS)

run: setup
	@$(BIN)/perstack $(ARGS)

test: setup
	$(BIN)/python -m pytest -n 2 -m "not long" $(ARGS)

test-all: setup
	HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

snap: setup
	$(BIN)/python -m pytest -n 2 tests/snapshot --snapshot-update $(ARGS)

pictures: setup
	$(BIN)/python -m tests.pictures

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m bench $(ARGS)

lock:
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --quiet -o requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
