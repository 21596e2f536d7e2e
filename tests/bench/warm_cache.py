"""`onnxq quantize --cache` of a model that the cache has: seconds beside `onnxq --version` and hashing what it reads,
of which it may take 1.5 times as long. Medians of runs that take turns.

    python tests/bench/warm_cache.py
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from statistics import median

import numpy as np

from onnxq.models.card import load_card, shipped_cards
from shapes import SHAPES
from table import table

COLUMNS = ("model", "MB read", "first run s", "warm s", "version s", "hashing s", "ratio")
TIMES, ALLOWED = 9, 1.5


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios() -> Iterator[list[object]]:
    for card in shipped_cards():
        found = load_card(card)
        yield row(
            card, [card], [found.model_path, found.calibration_path, *([found.test_path] if found.test_path else [])]
        )
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder) / "resnet50.onnx", Path(folder) / "data.npz"
        model.write_bytes(SHAPES["resnet50"]().SerializeToString())
        np.savez(data, input=np.random.default_rng(0).standard_normal((32, 3, 224, 224), np.float32))
        yield row("resnet50, random", [model, "--data", data, "--no-build"], [model, data])


def row(name: str, given: list[object], read: list[Path]) -> list[object]:
    with tempfile.TemporaryDirectory() as folder:
        onnxq = [sys.executable, "-m", "onnxq"]
        words = [*onnxq, "quantize", *map(str, given), "--out", f"{folder}/a.onnx", "--cache", f"{folder}/cache", "-q"]
        first = seconds(lambda: subprocess.run(words, check=True))
        warm, version, hashing = [], [], []
        for _ in range(TIMES):
            warm.append(seconds(lambda: subprocess.run(words, check=True)))
            version.append(seconds(lambda: subprocess.run([*onnxq, "--version"], check=True, capture_output=True)))
            hashing.append(seconds(lambda: [sha256(path.read_bytes()).digest() for path in read]))
    least = median(version) + median(hashing)
    size = sum(path.stat().st_size for path in read) / 1e6
    return [name, size, first, median(warm), median(version), median(hashing), median(warm) / least]


if __name__ == "__main__":
    found = list(ratios())
    table(f"A warm cache, of which {ALLOWED} is allowed", COLUMNS, [[*one] for one in found])
    sys.exit(any(float(str(one[-1])) > ALLOWED for one in found))
