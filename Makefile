# Two commands on a fresh clone: `make demo` and `make test`. Each sets up .venv first (deploy/install.sh).
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
READY := $(VENV)/ready-$(EXTRA)

.PHONY: demo test check install clean

demo: $(READY)
	$(VENV)/bin/gallon demo

test: check
	$(VENV)/bin/python -m pytest

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

install: $(READY)

$(READY): pyproject.toml deploy/install.sh $(wildcard deploy/requirements-*.txt)
	PYTHON=$(PYTHON) deploy/install.sh $(VENV) $(EXTRA)
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
