# Every command a developer needs; each makes what it depends on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
N ?= 100000
MINUTES ?= 5
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo local test oracle soak lint check fmt install constraints clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1   \2/p' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Make .venv with everything in it

# The constraints file pins every package by hash; the package itself is installed in place.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11: call make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "no virtual environment could be made: install python3-venv"; exit 1; }
	@echo "installing into $(VENV) (a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)  ## Postgres, Realtime, bridge and a chat page, from nothing
	@$(BIN)/bridge demo $(ARGS)

local: $(INSTALLED)  ## Only the local Supabase-compatible stack
	@$(BIN)/bridge local $(ARGS)

test: $(INSTALLED)  ## All tests; those whose programs are missing say so and skip
	$(BIN)/pytest $(ARGS)

oracle: $(INSTALLED)  ## Compare N decisions with Postgres, for nights: make oracle N=100000
	ORACLE_DECISIONS=$(N) $(BIN)/pytest -s -o timeout=0 tests/oracle

soak: $(INSTALLED)  ## Clients, writers and faults for a while: make soak MINUTES=5
	@$(BIN)/bridge bench soak --minutes $(MINUTES) $(ARGS)

lint: $(INSTALLED)  ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint test  ## What CI runs, one after the other

fmt: $(INSTALLED)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

PIN := pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate

# The image gets what the worker needs at run time, in the same versions.
constraints:  ## Pin the dependencies anew (needs pip-tools)
	$(PIN) --upgrade --all-extras -o constraints.txt pyproject.toml
	$(PIN) -c constraints.txt -o ops/docker/requirements.txt pyproject.toml

clean:  ## Remove what make made
	rm -rf $(VENV) bridge/client/node_modules bridge/client/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
