# Each target does all of its own set-up in .venv, see scripts/setup.sh. `make help` lists them.

DATA = data/fer2013
SOURCE =
OUT =
ARGS =
export PYTHON OPENCV

setup = @sh scripts/setup.sh
RUN = $(or $(OUT),runs/default)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-device figures data train convert bench bench-train lint format lock wheel clean

help: ## list the targets
	@echo "make TARGET [DATA=…] [SOURCE=…] [OUT=…] [ARGS='…'] [PYTHON=python3.x] [OPENCV=desktop|headless]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

demo: ## read faces in a moving picture made of real photographs, or in SOURCE=any.mp4
	$(setup) demo
	.venv/bin/mien demo $(if $(SOURCE),"$(SOURCE)") --out "$(or $(OUT),out/demo)" $(ARGS)

test: ## run all tests (installs TensorFlow)
	$(setup) demo train test
	.venv/bin/pytest $(ARGS)

test-device: ## run the tests that need no TensorFlow
	$(setup) demo test
	.venv/bin/pytest tests/edge tests/test_*.py $(ARGS)

data: ## fetch FER2013 from Kaggle with your credentials, or say where to put it
	$(setup) train
	[ -e "$(DATA)" ] && echo "it is there" || .venv/bin/mien-train fetch --out "$(DATA)" $(ARGS)

train: ## train a network on DATA=path, into runs/default (OUT=)
	$(setup) train
	.venv/bin/mien-train fit --data "$(DATA)" --out "$(RUN)" $(ARGS)

convert: ## quantize and check the trained network, into runs/default/bundle
	$(setup) train
	.venv/bin/mien-convert run --model "$(RUN)/model.keras" --data "$(DATA)" --out "$(RUN)/bundle" $(ARGS)

bench: ## measure this machine, then the engine against loops that search every frame (SOURCE=folder of face videos)
	$(setup) demo train
	.venv/bin/mien bench
	.venv/bin/python tests/bench/engine.py $(if $(SOURCE),"$(SOURCE)") $(ARGS)

bench-train: ## measure whether the input pipeline keeps up with the network on DATA=path
	$(setup) train
	.venv/bin/mien-train bench --data "$(DATA)" $(ARGS)

figures: ## write the bundled models' figures into the pages that publish them
	$(setup) demo
	.venv/bin/python scripts/figures.py

lint: ## check style, format and types
	$(setup) lint
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	sh scripts/types.sh

format: ## bring the code into format
	$(setup) lint
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format

lock: ## compile locks/ from pyproject.toml (ARGS=--upgrade for newer versions)
	$(setup) lint
	sh scripts/lock.sh $(ARGS)

wheel: ## build the wheel in dist/
	$(setup) test
	.venv/bin/python -m build --wheel --no-isolation

clean: ## remove .venv and all that was built; runs/ and data/ stay
	rm -rf .venv build dist out mien.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
