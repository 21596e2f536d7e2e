"""Run by a Python that has a quantizer and perhaps not onnxq: imports the runner named once, then quantizes as told.

    PYTHON worker.py with_nncf

A line of JSON in for each call, with ``model``, ``samples``, ``count`` of them, ``batch``, ``out`` and ``options``; a
line out, with the ``seconds`` of the call and ``mb``, the peak of memory above what the process had before; or with
an ``error``. What the quantizer prints goes elsewhere.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

STATUS = Path("/proc/self/status")


def main(runner: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    quantize = importlib.import_module(runner).quantize
    for line in sys.stdin:
        asked = json.loads(line)
        said: dict[str, Any]
        try:
            said = measured(quantize, asked)
        except Exception as error:  # whatever a quantizer raises is a cell of the table
            said = {"error": f"{type(error).__name__}: {error}".split("\n")[0][:200]}
        print(json.dumps(said), file=answers, flush=True)


def measured(quantize: Callable[..., None], asked: Mapping[str, Any]) -> dict[str, float]:
    with np.load(asked["samples"]) as held:
        arrays = {name: held[name][: asked["count"]] for name in held.files}
    starts = range(0, len(next(iter(arrays.values()))), asked["batch"])
    feeds = [{name: array[at : at + asked["batch"]] for name, array in arrays.items()} for at in starts]
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = time.perf_counter()
    quantize(asked["model"], feeds, asked["out"], **asked["options"])
    return {"seconds": time.perf_counter() - start, "mb": megabytes("VmHWM") - before}


def megabytes(line: str) -> float:
    return int(STATUS.read_text().split(line + ":")[1].split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1])
