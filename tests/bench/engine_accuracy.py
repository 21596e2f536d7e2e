"""An engine against its simulation: OpenVINO, at batch 1 and 64, beside onnxruntime on the same Q/DQ graph.

    python tests/bench/engine_accuracy.py [MODEL ...]

The engine's SQNR against FP32 may be 1 dB below the simulation's, its top-1 0.2 points. Both run in the corpus's own
judge, without onnxq.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from corpus import CLASSIFIERS, CORPUS, MISSING, SAMPLES, TASKS, feeds, judge, labelled, path_of
from onnxq import Options, quantize
from onnxq.sqnr import sqnr_db
from table import table

BATCHES = (1, 64)
MOST_DB = 1.0
MOST_POINTS = 0.2
COLUMNS = ("model", "FP32 %", "graph dB", "graph %", "batch", "engine dB", "engine %", "verdict")
Answers: TypeAlias = NDArray[np.float32]


def accuracies(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "graph.onnx"
            with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
                quantize(path_of(name), data, backend="openvino", options=Options(build=False)).save(graph)
            yield from _rows(name, graph)


def _rows(name: str, graph: Path) -> Iterator[list[object]]:
    inputs, labels = labelled(TASKS[name])

    def answers(path: Path, engine: str, batch: int) -> Answers:
        made: Answers = judge().runner(str(path), engine, batch)(inputs)[0].reshape(len(inputs), -1)
        return made

    def top1(found: Answers) -> float:
        return 100 * float((found.argmax(1) == labels).mean())

    reference, simulated = answers(path_of(name), "onnxruntime", 100), answers(graph, "onnxruntime", 100)
    for batch in BATCHES:
        real = answers(graph, "openvino", batch)
        likeness, expected = sqnr_db(reference, real), sqnr_db(reference, simulated)
        lost, points = expected - likeness, top1(simulated) - top1(real)
        missed = [f"{lost:.1f} dB below"] * (lost > MOST_DB) + [f"{points:.2f} points below"] * (points > MOST_POINTS)
        verdict = f"MISSED: {', '.join(missed)}" if missed else "ok"
        yield [name, top1(reference), expected, top1(simulated), batch, likeness, top1(real), verdict]


if __name__ == "__main__":
    title = "OpenVINO engine against the Q/DQ graph in onnxruntime"
    if CORPUS:
        table(title, COLUMNS, accuracies(sys.argv[1:] or CLASSIFIERS))
    else:
        print(MISSING)
