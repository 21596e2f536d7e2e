"""The same file, byte for byte, from separate processes: on one core, with one thread, in other batches, with numpy's
kernels for an older CPU, and with other hash seeds.

    python tests/bench/same_bytes.py [MODEL ...]
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from command import BACKENDS
from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from table import table

MODELS = ("resnet20", "mobilenetv2_cifar10", "kws_dscnn", "vit_cifar10", "yolox_nano")
SETTINGS: tuple[tuple[dict[str, str], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"ONE_CORE": "1"}, ()),
    ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, ("--batch", "7")),
    ({"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512_SKX"}, ()),
)
OPTIONS = ((), ("--weight-bits", "4"))
RUN = """
import os, sys
if "ONE_CORE" in os.environ:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from onnxq.cli.main import main
main()
"""
COLUMNS = ("model", "options", *BACKENDS, "verdict")


def runs(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
            for options in OPTIONS:
                cells = [_different(path_of(name), data, backend, options) for backend in BACKENDS]
                verdict = "ok" if set(cells) == {1} else "MISSED: files differ"
                yield [name, " ".join(options), *cells, verdict]


def _different(model: Path, data: Path, backend: str, options: Sequence[str]) -> int:
    """How many different files there are."""
    found = set()
    for seed, (variables, batch) in enumerate(SETTINGS):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / f"{seed}.onnx"
            words = ["quantize", model, "--data", data, "-b", backend, "--no-build", "-q", "-o", out, *options, *batch]
            environment = {**os.environ, **variables, "PYTHONHASHSEED": str(seed)}
            subprocess.run([sys.executable, "-W", "ignore", "-c", RUN, *map(str, words)], check=True, env=environment)
            found.add(hashlib.sha256(out.read_bytes()).hexdigest())
    return len(found)


if __name__ == "__main__":
    if CORPUS:
        table("Different files of four processes", COLUMNS, runs(sys.argv[1:] or MODELS))
    else:
        print(MISSING)
