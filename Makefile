# Two commands: `make demo` shows the product at work, `make test` proves it. Both set up all they need.
PYTHON ?= python3
HOST ?= 0.0.0.0
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test check format bench install install-reference install-dev lock serve clean

help:            ## List what can be made
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*##/\t/'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# A stamp is younger than its lock file once the lock is installed.
$(VENV)/.core: requirements.txt | $(BIN)/python
	$(PIP) --require-hashes -r requirements.txt
	@touch $@
$(VENV)/.torch: | $(BIN)/python
	$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP) 'torch>=2.6,<2.14'
	@touch $@
$(VENV)/.reference: requirements-reference.txt $(VENV)/.torch | $(BIN)/python
	$(PIP) --require-hashes -r requirements-reference.txt
	@touch $@
$(VENV)/.dev: requirements-dev.txt $(VENV)/.torch | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

install: $(VENV)/.core                ## Install the site only
install-reference: $(VENV)/.reference ## Install the site, MLflow and the reference pipeline
install-dev: $(VENV)/.dev             ## Install everything, for development and tests

demo: install-reference ## Set up, run the whole road once and serve the site
	@exec $(BIN)/python manage.py demo --host $(HOST) --port $(PORT)

serve: install   ## Serve the site
	$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py serve --host $(HOST) --port $(PORT)

test: check      ## Set up, check everything and run all tests
	$(BIN)/python -m pytest

check: install-dev ## Format, lint, types, import rules, migrations, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/python -m maturity check

format: install-dev ## Put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev ## Measure, and print the figures with the machine named
	$(BIN)/python -m benchmarks

lock:            ## Renew the lock files (needs uv)
	for extra in dev:'--extra reference --extra dev --extra postgres --extra mysql --extra redis' reference:'--extra reference' core:''; do \
	  name=$${extra%%:*}; file=requirements-$$name.txt; [ $$name = core ] && file=requirements.txt; \
	  uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --quiet \
	    $$( [ $$name != dev ] && echo -c requirements-dev.txt ) $${extra#*:} -o $$file; done

clean:           ## Remove the environment and everything the demo made
	rm -rf $(VENV) var
