"""The same model, samples, recipe and versions give the same file, byte for byte, in whatever process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# One core where the platform can say so; numpy's kernels of an older CPU; another batch.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "as it comes": {},
    "one core": {"ONE_CORE": "1"},
    "one thread, batches of 7, an older CPU's kernels": {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512_SKX",
        "BATCH": "7",
    },
}
QUANTIZE = """
import hashlib, os, pathlib
if "ONE_CORE" in os.environ and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import onnxq
batch = int(os.environ["BATCH"]) if "BATCH" in os.environ else None
for settings in ({}, {"weight_bits": 4, "calibrator": "auto", "solver": "gptq"}):
    options = onnxq.Options(build=False, samples=48, batch=batch, **settings)
    backends = ["onnxruntime", "openvino", "tensorrt"]
    found = onnxq.quantize(onnxq.load_card("digits_mobilenet"), backend=backends, options=options)
    for path in found.save("out/").values():
        print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_in_separate_processes(tmp_path: Path) -> None:
    said: dict[str, list[str]] = {}
    for seed, (name, variables) in enumerate(SETTINGS.items()):
        folder = tmp_path / str(seed)
        (folder / "out").mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", QUANTIZE],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **variables, "PYTHONHASHSEED": str(seed)},
        )
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout.split()
    assert len(set(said["as it comes"])) == 6
    for name, hashes in said.items():
        assert hashes == said["as it comes"], name
