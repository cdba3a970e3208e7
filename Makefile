PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= demo-workspace

.PHONY: demo test test-rooms test-flows interop engines bench torture lint clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

demo: $(VENV)/.installed  ## train, score, export on real spectra
	$(BIN)/n4a-flows demo --workspace $(WORKSPACE)

# Two halves at once, a core for each; JOBS=1 for a machine that is shared. What the second one says is shown when it has ended.
JOBS ?= 2

test: $(VENV)/.installed
	$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) test-rooms test-flows

ROOMS := tests/storage tests/spectra tests/monitoring tests/reports

test-rooms:
	$(BIN)/python -m pytest $(ROOMS)

test-flows:
	$(BIN)/python -m pytest $(ROOMS:%=--ignore=%) > $(VENV)/flows.log 2>&1; ended=$$?; cat $(VENV)/flows.log; exit $$ended

interop: $(VENV)/.installed .interop/nirs4all-1.4.10/.installed .interop/nirs4all-0.7.1/.installed  ## bundles against nirs4all
	$(BIN)/python -m pytest tests/interop

# Only what its loader imports, in the versions that are here: pickles are for the packages they were made with.
.interop/nirs4all-%/.installed: tests/interop/nirs4all-%.txt | $(VENV)/.installed
	mkdir -p .interop
	$(BIN)/pip freeze --exclude-editable > .interop/constraints.txt
	$(PYTHON) -m venv .interop/nirs4all-$*
	.interop/nirs4all-$*/bin/pip install --quiet --constraint .interop/constraints.txt --requirement $<
	.interop/nirs4all-$*/bin/pip install --quiet --no-deps nirs4all==$*
	touch $@

# Dask, Ray and an S3 of our own; in the versions of everything else that are here.
engines: $(VENV)/.engines .engines/other-scikit-learn/.installed  ## other task runners, and files at URLs
	$(BIN)/python -m pytest tests/engines

$(VENV)/.engines: $(VENV)/.installed
	mkdir -p .engines
	$(BIN)/pip freeze --exclude-editable > .engines/constraints.txt
	$(BIN)/pip install --quiet --constraint .engines/constraints.txt -e '.[engines]'
	touch $@

# The same environment but for one package, which a worker must not have: what comes first on the path counts.
.engines/other-scikit-learn/.installed: | $(VENV)/.engines
	$(PYTHON) -m venv .engines/other-scikit-learn
	.engines/other-scikit-learn/bin/pip install --quiet --no-deps 'scikit-learn<1.9'
	$(BIN)/python -c 'import sysconfig; print("$(CURDIR)", sysconfig.get_path("purelib"), sep="\n")' > \
		$$(.engines/other-scikit-learn/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/same.pth
	touch $@

e2e: $(VENV)/.installed  ## a real server, worker and browser (Chromium of the system); N4A_PICTURES=FOLDER keeps its pictures
	$(BIN)/pip install --quiet -e '.[test,e2e]'
	$(BIN)/python -m pytest -o faulthandler_timeout=900 tests/e2e

PEERS := nirs4all-1.4.10 nirs4all-0.7.1 mlflow-3.17.2

bench: $(VENV)/.installed $(PEERS:%=.bench/%/.installed)  ## beside the peers; BENCH="--quick --only record,replay" for a part
	$(BIN)/python -m benchmarks $(BENCH)

# The libraries that do the work in the versions that are here: what is compared are the stores.
.bench/%/.installed: benchmarks/peers/%.txt | $(VENV)/.installed
	mkdir -p .bench
	$(BIN)/pip freeze --exclude-editable | grep -E '^(scikit-learn|numpy|scipy|joblib|chemotools)=' > .bench/constraints.txt
	$(PYTHON) -m venv .bench/$*
	.bench/$*/bin/pip install --quiet --constraint .bench/constraints.txt --requirement $<
	.bench/$*/bin/pip install --quiet --no-deps $(subst -,==,$*)
	touch $@

torture: $(VENV)/.installed  ## the long versions of the tests that look for lost writes, and thousands of damaged spectra files
	N4A_LONG=1 N4A_HYPOTHESIS=thorough $(BIN)/python -m pytest -s -o faulthandler_timeout=1800 \
		tests/storage/test_torture.py tests/storage/test_full_disk.py \
		tests/storage/test_two_processes.py tests/storage/test_state_machine.py tests/storage/test_check.py \
		tests/storage/test_defects.py tests/storage/test_upgrade.py tests/storage/test_backup.py \
		tests/prefect/test_killed_while_scoring.py tests/prefect/test_train_and_record.py \
		tests/spectra/test_damaged_files.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-workspace build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .interop .bench .engines
