# Every target that needs it makes the virtual environment itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := onnxruntime openvino $(if $(filter Darwin,$(shell uname)),,tensorrt)  # macOS has no TensorRT
export ONNXQ_CORPUS ?=
export ONNXQ_PEERS ?=

.PHONY: demo test lint bench docs wheel clean
.DEFAULT_GOAL := demo

$(BIN)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet -e '.[all,dev]'
	touch $@

demo: $(BIN)/.ready  ## Quantize a model that ships with onnxq for three engines.
	$(BIN)/onnxq quantize models/digits_mobilenet/card.yaml $(ENGINES:%=--backend %) --out out/

test: $(BIN)/.ready  ## All tests; with ONNXQ_CORPUS=FOLDER also those on a corpus of real models.
	$(BIN)/pytest

lint: $(BIN)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(BIN)/.ready  ## INT8 shares, speed, memory and accuracy, as ratios of one run; see docs/benchmarks.md.
	$(BIN)/python tests/bench

docs: $(BIN)/.ready  ## The API reference, from docstrings, into out/docs.
	$(BIN)/python docs/api.py out/docs

wheel: $(BIN)/.ready
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
