# Everything lives in .venv; a machine needs Python 3.11 or later, make, and a package index.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt

.PHONY: demo app notebooks docs docs-serve test lint

demo: .venv/installed
	$(BIN)/lab demo --out runs/demo

app: runs/demo/summary.json
	$(BIN)/lab studio runs/demo/ledger

notebooks: .venv/installed
	$(BIN)/jupyter lab notebooks

# The site that holds manual, tour, guides and reference: site/index.html.
docs: .venv/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: .venv/documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# Files, not tests, are spread over the workers: fixtures of a file are made once.
test: .venv/complete
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

lint: .venv/complete
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py tests/test_setup.py

runs/demo/summary.json: | .venv/installed
	$(BIN)/lab demo --out runs/demo --no-open

.venv/installed: $(BIN)/uv pyproject.toml constraints.txt
	$(INSTALL) -e .
	touch $@

.venv/documented: .venv/installed
	$(INSTALL) -e '.[docs]'
	touch $@

.venv/complete: .venv/installed
	$(INSTALL) -e '.[dev,docs,metrics,scale,video]'
	touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This needs Python 3.11 or later: install it, or name it as in: make demo PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) comes without venv: install it (Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
