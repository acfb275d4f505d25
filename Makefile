# On a fresh clone: `make demo`, `make test` or `make quick`. Each sets up .venv first (deploy/install.sh).
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
READY := $(VENV)/ready-$(EXTRA)

# Tests run side by side, so many at a time: what one file starts is shared by the tests of that file. The files in their
# order begin with the longest.
JOBS ?= 2
TESTS := $(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick tools check docs install clean

demo: $(READY)
	$(VENV)/bin/gallon demo

test: check
	$(TESTS)

# What holds without Ray: in a minute or so.
quick: check
	$(TESTS) tests/unit

# What some tests want besides Python packages (a Redis with TLS, Slurm, promtool, a browser); without it they are skipped.
tools:
	tests/tools.sh

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# The documentation, as build/site/index.html.
docs: $(READY)
	$(VENV)/bin/python -m mkdocs build --strict

install: $(READY)

$(READY): pyproject.toml deploy/install.sh $(wildcard deploy/requirements-*.txt)
	PYTHON=$(PYTHON) deploy/install.sh $(VENV) $(EXTRA) dev
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
