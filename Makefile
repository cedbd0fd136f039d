PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev]'
	touch $@

test: .venv/installed
	$(BIN)/python -m pytest -q
