# Each target does all of its own set-up in .venv, see scripts/setup.sh. `make help` lists them.

DATA = data/fer2013
SOURCE =
OUT =
ARGS =
HOST =
HOSTS =
SSH_CONFIG =
BUNDLE =
MINUTES =
export PYTHON OPENCV HOST HOSTS SSH_CONFIG

setup = @sh scripts/setup.sh
RUN = $(or $(OUT),runs/default)
# `make train` makes what Mien ships, from the teachers that are kept, unless ARGS ask for another network or recipe.
TEACHERS = $(wildcard docs/runs/wide-[23]/bundle docs/runs/broad-*/bundle)
TAUGHT = $(if $(findstring --arch,$(ARGS))$(findstring --recipe,$(ARGS)),,--recipe deep $(addprefix --teacher ,$(TEACHERS)))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-edge test-device test-machine soak deploy deploy-model undeploy figures data train convert bench bench-train bench-outlets lint format lock wheel clean

help: ## list the targets
	@echo "make TARGET [DATA=…] [SOURCE=…] [OUT=…] [ARGS='…'] [PYTHON=python3.x] [OPENCV=desktop|headless]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

demo: ## read faces in a moving picture made of real photographs, or in SOURCE=any.mp4
	$(setup) demo
	.venv/bin/mien demo $(if $(SOURCE),"$(SOURCE)") --out "$(or $(OUT),out/demo)" $(ARGS)

test: ## run all tests (installs TensorFlow)
	$(setup) demo train outlets test browser
	.venv/bin/pytest $(ARGS)

test-edge: ## run the tests that need no TensorFlow
	$(setup) demo outlets test browser
	.venv/bin/pytest tests/edge tests/test_*.py $(ARGS)

test-device: ## deploy to a container with systemd, break it, see it recover (root, minutes; ARCH=arm64 SUITE=trixie)
	$(setup) demo outlets deploy test
	MIEN_TEST_DEVICE=container MIEN_TEST_ARCH=$(or $(ARCH),amd64) MIEN_TEST_SUITE=$(or $(SUITE),bookworm) \
		.venv/bin/pytest -s tests/device/test_container.py $(ARGS)

test-machine: ## the same on an emulated machine with a camera and a display (root, half an hour; ARCH=arm64)
	$(setup) demo outlets deploy test
	MIEN_TEST_DEVICE=machine MIEN_TEST_ARCH=$(or $(ARCH),amd64) MIEN_TEST_SUITE=$(or $(SUITE),bookworm) \
		.venv/bin/pytest -s tests/device/test_machine.py $(ARGS)

soak: ## run for MINUTES=60 or 300,000 frames and see that nothing grows
	$(setup) demo
	.venv/bin/python tests/bench/soak.py --minutes $(or $(MINUTES),60) $(ARGS)

deploy: ## put Mien on HOST=pi@raspberrypi.local or HOSTS=inventory, as a service
	$(setup) deploy
	@ARGS='$(ARGS)' sh scripts/deploy.sh deploy

deploy-model: ## give HOST or HOSTS the model BUNDLE=folder alone
	$(setup) deploy
	@ARGS='$(ARGS)' sh scripts/deploy.sh model "$(BUNDLE)"

undeploy: ## take Mien off HOST or HOSTS; its configuration, history and log stay
	$(setup) deploy
	@ARGS='$(ARGS)' sh scripts/deploy.sh undeploy

data: ## fetch FER2013 from Kaggle with your credentials, or say where to put it
	$(setup) train
	[ -e "$(DATA)" ] && echo "it is there" || .venv/bin/mien-train fetch --out "$(DATA)" $(ARGS)

train: ## train the default network on DATA=path, into runs/default (OUT=; ARGS='--recipe base' is quicker)
	$(setup) train
	.venv/bin/mien-train fit --data "$(DATA)" --out "$(RUN)" $(TAUGHT) $(ARGS)

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

bench-outlets: ## measure what each outlet costs of the frame rate
	$(setup) demo outlets test
	.venv/bin/python tests/bench/outlets.py $(ARGS)

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
