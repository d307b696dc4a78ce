# `make quickstart` and `make test` need nothing but Python 3.10 to 3.13: each makes $(VENV) and installs into it what it needs, once.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Processes that test side by side. What shares a costly fixture stays in one of them (tests/conftest.py).
PROCESSES ?= 2
PYTEST := $(PYTHON) -m pytest -n $(PROCESSES)

.PHONY: quickstart test test-quick test-slow lint clean

quickstart: $(VENV)/.installed
	$(PYTHON) -m launch.pipeline --flagfile=launch/presets/quickstart.flags

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

# A minute, for every edit: the order of imports, every law on one method and one model, one small job.
test-quick: $(VENV)/.installed-test
	$(PYTEST) -m quick

test-slow: $(VENV)/.installed-test
	$(PYTEST) -m slow

lint: $(VENV)/.installed-test
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on the path is not enough: version managers leave names of interpreters that are not installed, and some systems leave out
# the modules that make an environment. 3.11 first: constraints.txt was tested with it.
$(VENV)/pyvenv.cfg:
	@for name in python3.11 python3.12 python3.13 python3.10 python3; do \
	  if $$name -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$name --version)"; exec $$name -m venv $(VENV); \
	  fi; \
	done; \
	echo "No usable Python 3.10, 3.11, 3.12 or 3.13 (with the venv module) was found on the path." >&2; exit 1

$(VENV)/.installed: setup.py constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing into $(VENV): about 3 GB, a few minutes, once"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing the test tools into $(VENV)"
	@$(PIP) -e '.[test,serving]'
	@touch $@
