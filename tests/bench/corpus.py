"""The folder of real models and data that ONNXQ_CORPUS names, and the judge that lies in it."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORPUS = os.environ.get("ONNXQ_CORPUS")
FOLDER = Path(CORPUS or ".")
TASKS = {
    "resnet20": "cifar10",
    "resnet20_spread": "cifar10",
    "mobilenetv2_cifar10": "cifar10",
    "vit_cifar10": "cifar10",
    "kws_dscnn": "kws",
    "kws_dscnn_spread": "kws",
    "yolox_nano": "coco",
}
SAMPLES = {"cifar10": 512, "kws": 200, "coco": 64}
CLASSIFIERS = tuple(name for name, task in TASKS.items() if task != "coco")
MISSING = "ONNXQ_CORPUS names no folder of real models."


def path_of(name: str) -> Path:
    """The file of a model, wherever in the corpus it lies."""
    for kind in ("models", "robust"):
        if (path := FOLDER / kind / f"{name}.onnx").exists():
            return path
    sys.exit(f"{name}: no such model in {CORPUS}")


def evaluate(*arguments: object) -> dict[str, float]:
    """What the corpus's own judge finds."""
    command = [sys.executable, f"{CORPUS}/evaluate.py", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return found


@cache
def judge() -> Any:
    """The judge as a module, for what its command does not offer."""
    spec = importlib.util.spec_from_file_location("evaluate", FOLDER / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def labelled(task: str, n: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Test inputs of a classifier and their labels, the first ``n`` or all."""
    with np.load(judge().DATA / f"{task}_test.npz") as held:
        inputs = judge().cifar(held["images"][:n]) if task == "cifar10" else held["features"][:n]
        return inputs, held["labels"][:n]


@contextmanager
def feeds(task: str, n: int) -> Iterator[Path]:
    """Calibration samples of the corpus, as a user would have them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feeds.npz"
        evaluate("--calibration", task, path, "--n", n)
        yield path
