# `make help` lists the targets. The commands behind them are the doors of the three packages.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SOURCE ?= simulated
PIPELINES ?= churn clv segments recommend
# By file, so that what a file's tests share is made once.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup spark demo test test-all lint bench ui clean lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

setup: $(VENV)/installed  ## virtual environment from the hash-pinned lock

demo: setup  ## raw file to HTTP answer: SOURCE=simulated|online_retail_II PIPELINES='churn clv segments recommend'
	$(BIN)/python -m serving demo $(PIPELINES) --source $(SOURCE)

test: setup  ## tests in sizes that fit (lint is apart)
	$(PYTEST)

test-all: setup  ## every test in its full size
	PERENNIAL_TEST_ALL=1 $(PYTEST)

lint: setup  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## every script in benchmarks/; those on real data need PERENNIAL_DATA_DIR
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

ui: setup  ## MLflow in the browser, on loopback
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 \
		--backend-store-uri $${PERENNIAL_TRACKING_URI:-sqlite:///$(CURDIR)/registry/mlflow.db}

clean:  ## remove store/ alone: all that can be made again
	rm -rf store

spark: setup  ## what `engine: spark` needs beside Java 17
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock

COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

lock: setup  ## resolve the two lock files anew
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	sed -n 's/^spark = \["\(.*\)"\]/\1/p' pyproject.toml | $(COMPILE) - -o requirements-spark.lock
