# make demo: see it work.  make test: check it.  make help: the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PARAMS ?= params.yaml

.DEFAULT_GOAL := help
.PHONY: help install demo image tools test quick test-long test-containers test-kube-api test-kubernetes lint types audit format reference clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: .venv/.installed  ## make the environment in .venv, with the kineflow command in it

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install  ## make the demo videos and run the whole D3D recipe on them
	$(BIN)/kineflow synth data --seed 1
	$(BIN)/python -m dvc add --quiet data
	$(BIN)/kineflow run d3d --params $(PARAMS)

tools: install  ## install the servers that tests start, each into an environment of its own in .tools
	@PYTHON=$(PYTHON) tests/tools/install.sh

test: tools  ## run the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: install  ## run the tests that take less than half a second each
	$(BIN)/python -m pytest -q -m 'not slow and not long and not containers and not kube_api and not kubernetes' -n 2 --dist loadfile --no-loadscope-reorder

test-long: tools  ## run what takes minutes: whole runs by KFP, the other recipes, full size, lost nodes, real clips, properties at length, kills (DISTURBANCES=20)
	$(BIN)/python -m pytest -m long -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile thorough -n 2 --dist loadfile --no-loadscope-reorder

test-containers: install  ## build the image and run the D3D recipe in containers (skipped, aloud, without an engine)
	@PYTHON=$(BIN)/python tests/containers/run.sh

test-kube-api: install  ## send a training job to a real Kubernetes API server, built from Debian's packages in minutes
	tests/kube_api/build.sh
	$(BIN)/python -m pytest -m kube_api tests/kube_api

test-kubernetes: install  ## install on the cluster of your kubeconfig and run recipes there (skipped, aloud, without one)
	@PYTHON=$(BIN)/python tests/kubernetes/run.sh

lint: install  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## mypy, strict
	$(BIN)/mypy

audit: install  ## list what the image holds (SBOM), and ask for advisories where they can be had
	$(BIN)/python deploy/audit.py

format: install  ## let ruff rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: install  ## write docs/reference.md anew, after a change of a command, a step or a parameter
	$(BIN)/python -m pipelines.reference

clean:  ## remove caches of tools, and nothing that a run made (`kineflow clean` asks, and removes outputs)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +
