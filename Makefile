# The commands of this project; `make help` lists them. Everything is installed into .venv/ here and nowhere else.

# The first Python of these that is 3.11 or newer; `make PYTHON=/path/to/python test` takes another.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
SETTINGS := pyproject.toml constraints.txt
DEMO := runs/demo
# Two processes share the files of tests; PYTEST_ARGS="-q -x tests/cores" runs a part in one.
PYTEST_ARGS ?= -q -n 2 --dist loadfile --no-loadscope-reorder
# Each process of the tests would parse every module anew; __pycache__ is left out of git, and `make clean` deletes it.
unexport PYTHONDONTWRITEBYTECODE
FUZZ_SECONDS ?= 3600

.DEFAULT_GOAL := help
.PHONY: help demo test slow coverage fuzz pages docs notebooks lint types bench wheel clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed-train  ## Train LeNet-5 as MPO and dense on digits: a table and a picture, in minutes
	$(BIN)/tnlayers train lenet5 --network mpo,dense --data digits --out $(dir $(DEMO)) --name $(notdir $(DEMO)) --overwrite
	@echo
	@echo "The table above is in $(DEMO)/results.json, the picture in $(DEMO)/accuracy.png."

test: $(VENV)/.installed-dev  ## Run the tests, but those that `make slow` runs
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

slow: $(VENV)/.installed-dev  ## Run the tests of tests/slow.txt: runs and processes, compilers, fits
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

coverage: $(VENV)/.installed-dev  ## Run all tests, report branches, and list the lines and branches that no test runs
	$(BIN)/python -m pytest -q --cov --cov-report=term-missing $(COVERAGE_ARGS)
	$(BIN)/python tests/support/guards.py --store "make coverage"

fuzz: $(VENV)/.installed-dev  ## Make inputs up for an hour and write docs/fuzz.md (FUZZ_SECONDS=60: for a minute)
	TNLAYERS_GRAPHS=1000 $(BIN)/python -m pytest -q tests/planning/test_plan_bounds.py
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) --page docs/fuzz.md

pages: $(VENV)/.installed-dev  ## Run the code blocks of README.md and docs/
	$(BIN)/python -m pytest -q -rs tests/pages/test_pages.py

docs: $(VENV)/.installed-dev  ## Build the documentation site into build/site/; a warning is an error
	$(BIN)/sphinx-build -q -E -W --keep-going -b html -d build/doctrees docs build/site
	@echo "The site is in build/site/index.html."

notebooks: $(VENV)/.installed-dev  ## Execute the notebooks, each from a clean kernel (NOTEBOOKS="1 2": only these)
	$(BIN)/python notebooks/run.py $(NOTEBOOKS)

lint: $(VENV)/.installed-dev  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev  ## Check types
	$(BIN)/mypy

bench: .venv-bench/.installed  ## Time layers against nn.Linear, other libraries and the machine's limit (hours; BENCH_ARGS=--quick: minutes)
	.venv-bench/bin/tnlayers bench --out docs/results/benchmarks.json --gpu docs/results/gpu.json --report docs/benchmarks.md $(BENCH_ARGS)

wheel: $(VENV)/.installed-dev  ## Build the sdist, and from it the wheel, into dist/
	rm -rf build dist
	$(BIN)/python -m build --quiet
	@ls -l dist

clean:  ## Delete what these targets make, except runs/
	rm -rf $(VENV) .venv-bench build dist docs/notebooks *.egg-info backends/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tnlayers backends tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say that an installation is complete, so that the next call does not repeat it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found. make PYTHON=/path/to/python ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-train: $(SETTINGS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train]"
	touch $@

# The other libraries get an environment of their own. torch-mpo declares a newer Python and training packages that its
# layers do not need.
.venv-bench/.installed: $(SETTINGS)
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	.venv-bench/bin/python -m pip install --quiet --no-deps --ignore-requires-python torch-mpo==0.2.3
	touch $@

# dev contains train.
$(VENV)/.installed-dev: $(SETTINGS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(VENV)/.installed-train $@
