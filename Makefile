# What a machine without ROS 2 needs; a robot builds the package with colcon instead. Run `make help`.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup setup-demo setup-models demo test lint bench bench-gpu clean config mutate

# An installed ROS 2 or another virtual environment must not mix with .venv.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Without bytecode, each of the processes that the tests and the demo start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

# The first installed Python that the ROS 2 wheels support, else python3; then the set-up says what is missing.
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2> /dev/null \
	&& { echo $$python; exit; }; done; echo python3)

# One more than two cores, as many tests wait for other processes; each takes about 1 GB of memory.
WORKERS ?= 3

help:
	@echo "make demo    set up, then ask the shipped bag's questions on real topics; results in out/demo"
	@echo "make test    set up, check style and types, then run every test (WORKERS=2: in two processes)"
	@echo "make setup   .venv with every library, the messages and .venv/bin/reasonseg (PYTHON=python3.12 chooses one)"
	@echo "make setup-models   only what published checkpoints need; make setup-demo: only the embedded models"
	@echo "make lint    ruff and mypy"
	@echo "make mutate  change single operators and numbers of the core, and list what no test notices; 20 minutes"
	@echo "make bench   set up, then compare with what a user would run instead; 15 minutes on a quiet machine"
	@echo "make bench-gpu   the same on an NVIDIA GPU, and the rows that need one"
	@echo "make clean   remove .venv, the builds and out"

setup: SIZE = test
setup-models: SIZE = models
setup-demo: SIZE = demo
setup setup-models setup-demo:
	@command -v $(PYTHON) > /dev/null || { echo "set-up: no $(PYTHON); run: sudo apt install python3 python3-venv python3-dev" >&2; exit 1; }
	@$(PYTHON) scripts/set_up.py $(SIZE)

demo: setup-demo
	@.venv/bin/reasonseg demo --out out/demo

test: lint
	@.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy

mutate: setup
	@.venv/bin/python -m pip install -q --disable-pip-version-check -c requirements/constraints.txt "cosmic-ray>=8.3,<9"
	@.venv/bin/python scripts/mutate.py

bench: setup
	@.venv/bin/python -m benchmarks

bench-gpu: setup
	@.venv/bin/python -m benchmarks --gpu

config: setup
	@.venv/bin/python -m reasonseg_ros.config.parameter_file > config/reasonseg.yaml

clean:
	rm -rf .venv build install log out
