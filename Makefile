# make demo: see it work.  make test: check it.  make help: the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PARAMS ?= params.yaml

.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint types format clean

help:  ## say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.installed  ## make the environment in .venv, with the kineflow command in it

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install  ## make the demo videos and run the whole D3D recipe on them
	$(BIN)/kineflow synth data --seed 1
	$(BIN)/python -m dvc add --quiet data
	$(BIN)/kineflow run d3d --params $(PARAMS)

test: install  ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup

quick: install  ## run the tests that take seconds
	$(BIN)/python -m pytest -q -m 'not slow' -n 2 --dist loadgroup

lint: install  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## mypy, strict
	$(BIN)/mypy

format: install  ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what runs left behind, but not the environment or the data
	rm -rf outputs runs mlruns mlartifacts mlflow.db* .pytest_cache .mypy_cache .ruff_cache
