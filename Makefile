PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= demo-workspace

.PHONY: demo test torture lint clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

demo: $(VENV)/.installed  ## train, score, export on real spectra
	$(BIN)/n4a-flows demo --workspace $(WORKSPACE)

test: $(VENV)/.installed
	$(BIN)/python -m pytest

torture: $(VENV)/.installed  ## the long versions of the tests that look for lost writes
	N4A_LONG=1 N4A_HYPOTHESIS=thorough $(BIN)/python -m pytest -s -o faulthandler_timeout=1800 \
		tests/storage/test_torture.py tests/storage/test_full_disk.py \
		tests/storage/test_two_processes.py tests/storage/test_state_machine.py tests/storage/test_check.py \
		tests/storage/test_defects.py tests/storage/test_upgrade.py tests/storage/test_backup.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-workspace build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
