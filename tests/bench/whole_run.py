"""A whole `onnxq quantize` of ResNet-20: seconds beside plain FP32 inference of the same samples by onnxruntime, of
which it may take three times as long and 3 s; and the peak of memory above importing onnxruntime.

    python tests/bench/whole_run.py
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from command import BACKENDS
from corpus import CORPUS, MISSING, feeds, path_of
from table import table

COLUMNS = ("backend", "images", "plain FP32", "whole run", "allowed", "peak MB")
BASE = """
import json, resource, sys, time
import numpy as np
import onnxruntime as ort
floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
PLAIN = """
data = np.load(sys.argv[2])
name = data.files[0]
images = data[name]
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
def seconds(batch):
    start = time.perf_counter()
    for i in range(0, len(images), batch):
        session.run(None, {name: images[i : i + batch]})
    return time.perf_counter() - start
seconds(32)
print(json.dumps(min(seconds(batch) for batch in (1, 8, 32))))
"""
WHOLE = """
start = time.perf_counter()
import onnxq
onnxq.quantize(sys.argv[1], sys.argv[2], backend=sys.argv[3])
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor) / 1024,
}))
"""


def python(code: str, *arguments: object) -> Any:
    """What a fresh Python process prints as JSON: one process a measurement, so that peaks are its own."""
    command = [sys.executable, "-c", BASE + code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def runs() -> Iterator[list[object]]:
    model = path_of("resnet20")
    with feeds("cifar10", 512) as data:
        plain = python(PLAIN, model, data)
        for backend in BACKENDS:
            whole = python(WHOLE, model, data, backend)
            yield [backend, 512, plain, whole["seconds"], 3 * plain + 3, whole["MB"]]
        with many(data, 5000) as more:
            whole = python(WHOLE, model, more, "onnxruntime")
            yield ["onnxruntime", 5000, 10 * plain, whole["seconds"], "", whole["MB"]]


@contextmanager
def many(data: Path, n: int) -> Iterator[Path]:
    """The same samples again and again, ``n`` in all."""
    held = np.load(data)
    name = held.files[0]
    arrays: dict[str, Any] = {name: np.resize(held[name], (n, *held[name].shape[1:]))}
    np.savez(data.parent / "many.npz", **arrays)
    yield data.parent / "many.npz"


if __name__ == "__main__":
    if CORPUS:
        table("ResNet-20, whole run beside plain FP32 inference (seconds), and memory", COLUMNS, runs())
    else:
        print(MISSING)
