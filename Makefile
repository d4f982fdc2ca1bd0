# Two commands for everyone: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JAVASCRIPT := sdk/javascript
JAVASCRIPT_CLIENT := sdk/client-javascript
PROMPT ?= What is the capital of France?

.DEFAULT_GOAL := help
.PHONY: help run install javascript fmt check test test-all api-table bench bench-peers clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed  ## install what is needed, then run a program beside the embedded model
	@$(BIN)/pie run inferlets/text-completion -- --prompt "$(PROMPT)"

install: $(VENV)/.installed-dev  ## the package, editable, with the tools of developers

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) (once; torch is large)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) with the tools of developers (once; torch is large)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps \
		--target $(VENV)/upstream-client pie-client==0.4.0  # has the name of ours: the tests run it on its own
	@touch $@ $(VENV)/.installed

javascript: $(JAVASCRIPT)/node_modules/.installed $(JAVASCRIPT_CLIENT)/node_modules/.installed  ## the npm packages of JavaScript programs and of the JavaScript client

%/node_modules/.installed: %/package-lock.json
	@if command -v npm > /dev/null; then \
		echo "Installing npm packages into $*/node_modules (once)" >&2; \
		(cd $* && npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null) && touch $@ || \
		echo "npm failed: what is JavaScript is neither checked nor tested. Run make javascript again." >&2; \
	else \
		echo "There is no npm: $* is neither checked nor tested. Install Node.js 20 or newer." >&2; \
	fi

fmt: install  ## format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install javascript  ## formatting, lint, types, import order
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if [ -x $(JAVASCRIPT)/node_modules/.bin/tsc ]; then $(JAVASCRIPT)/node_modules/.bin/tsc -p $(JAVASCRIPT); fi
	@if [ -x $(JAVASCRIPT_CLIENT)/node_modules/.bin/tsc ]; then \
		cd $(JAVASCRIPT_CLIENT) && node_modules/.bin/tsc --noEmit && node_modules/.bin/tsc -p tsconfig.browser.json; \
	fi

test: install javascript  ## the suite, without what is marked slow
	$(BIN)/python -m pytest -m "not slow"

test-all: install javascript  ## everything this machine can run
	$(BIN)/python -m pytest

api-table: install  ## which rows of the API hold in which language, from the tests; writes docs/api.md
	@$(BIN)/python -m tests.api.table --write | tail -n 1

bench: install  ## all benchmarks, one JSON line each
	@for name in attention chat_reuse gpu host_calls http_overhead launch prefix scale serve_decode sessions speculation tax; do $(BIN)/python -m benches.$$name --json | tail -n 1; done

bench-peers:  ## what benches/decode.py compares with, in an environment of its own (builds llama.cpp: 10 minutes)
	$(PYTHON) -m venv benches/peers/.venv
	benches/peers/.venv/bin/python -m pip install --disable-pip-version-check --requirement benches/peers/requirements.txt

clean:  ## remove the virtual environment and caches of this folder
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
