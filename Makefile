# make demo and make test set everything up themselves; PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install demo notebooks test test-slow parity contract lint format schema bench animals clean

help:
	@echo "make demo   train, evaluate, pack, check and predict on the built-in example"
	@echo "make notebooks   open the five lessons"
	@echo "make test   run the test suite (make test-slow: with the slow tests and the old engines)"
	@echo "make parity   compare with the official packages, each in an environment of its own"
	@echo "make contract   confusion matrices of bmzpack check over published models"
	@echo "make lint   formatting, lint, types and rooms  make bench   ratios against peers"
	@echo "make animals  train what comes with the package, by model_cards/recipes (hours)"
	@echo "make schema   write the schema of configurations anew"

install: $(STAMP)

$(STAMP): pyproject.toml .ci/constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

demo: install
	@$(BIN)/python -m kerazoo demo --overwrite

notebooks: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[notebooks]'
	$(BIN)/jupyter lab zoo/kerazoo/course/notebooks

# One file after the other in as many processes as there are cores: most of the time is spent in starting and tracing.
test: install
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: install
	$(BIN)/python -m pytest -m 'not bench and not parity'

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[bench]'
	$(BIN)/python -m pytest -m bench -s

PEERS := stardist cellpose omnipose segment_anything

parity: install $(PEERS:%=.venv/parity/%/.installed)
	$(BIN)/python -m pytest -m 'parity and not bench' tests/parity

.venv/parity/%/.installed: .ci/parity/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

CORES := 0.11.0 0.10.2 0.9.1 0.8.0

# Against what really happens to published models, beside the checkout; CONTRACT_TRUTH names another folder.
contract: install $(CORES:%=.venv/core/%/.installed)
	$(BIN)/python tests/contract/confusion.py

.venv/core/%/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check bioimageio.core==$* onnxruntime==1.32.0 'pydantic<2.14'
	@touch $@

animals: install
	$(BIN)/python model_cards/animals.py

lint: install
	$(BIN)/ruff format --check zoo packaging tests
	$(BIN)/ruff check zoo packaging tests
	$(BIN)/pyright
	PYTHONPATH=zoo:packaging $(BIN)/lint-imports --no-cache

format: install
	$(BIN)/ruff format zoo packaging tests
	$(BIN)/ruff check --fix zoo packaging tests

# What editors complete and check a configuration by; it follows from zoo/kerazoo/config.py.
schema: install
	$(BIN)/python -m kerazoo.configuration.schema

clean:
	rm -rf .venv demo build dist
