"""Accuracy on the corpus: every model on every backend as the corpus judges it, and on the OpenVINO engine too.

python tests/bench/accuracy.py [MODEL ...]
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence

from command import BACKENDS, quantize
from corpus import CORPUS, MISSING, SAMPLES, TASKS, evaluate, feeds, path_of
from table import table

COLUMNS = ("model", "backend", "judged", "INT8 layers", "FP32 %", "quantized %", "SQNR dB")


def accuracies(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        task, model = TASKS[name], path_of(name)
        with feeds(task, SAMPLES[task]) as data, tempfile.TemporaryDirectory() as folder:
            found = quantize(model, "--data", data, "--out", f"{folder}/", *(f"--backend={b}" for b in BACKENDS))
            for backend, entry in found.items():
                integers = f"{entry['engine']['int8_nodes']}/{entry['engine']['nodes']}"
                for where in ("graph", "engine") if backend == "openvino" else ("graph",):
                    engine = ("--engine", "openvino") if where == "engine" else ()
                    judged = evaluate(entry["file"], "--task", task, "--reference", model, *engine)
                    score = judged["ap" if task == "coco" else "top1"]
                    yield [name, backend, where, integers, judged["fp32"], score, judged["sqnr_db"]]


if __name__ == "__main__":
    if CORPUS:
        table("Accuracy on the corpus", COLUMNS, accuracies(sys.argv[1:] or tuple(TASKS)))
    else:
        print(MISSING)
