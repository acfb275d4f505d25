# Two commands on a fresh clone: `make demo` and `make test`. Each sets up .venv first (deploy/install.sh).
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
READY := $(VENV)/ready-$(EXTRA)

.PHONY: demo test tools check docs install clean

demo: $(READY)
	$(VENV)/bin/gallon demo

test: check
	$(VENV)/bin/python -m pytest

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
