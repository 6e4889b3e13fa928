# Needs GNU make and a Python of at least 3.11, nothing else:
#     make train    learn with FineStep on the embedded dataset, evaluate before and after
#     make test     run the tests
#     make lint     style, types and the direction of imports
#     make docs     the documentation, as build/docs/index.html
# A machine without a GPU may want the CPU build of torch:
#     make train PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu'

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
ARGS ?=

PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: train test lint docs

train: $(READY)
	$(PY) experiments/train_finestep.py $(ARGS)

test: $(READY)
	$(PY) -m pytest $(ARGS)

lint: $(READY)
	$(PY) -m flake8
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

docs: $(READY)
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	$(PY) -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

# Made anew when a dependency changed.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[train,dev]'
	touch $(READY)
