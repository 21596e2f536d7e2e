"""Score and SQNR of a graph on the test data of the corpus, by the corpus's own judge; FP32 answers once."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import onnx

from corpus import TASKS, judge, path_of
from onnxq.inputs import Array
from onnxq.sqnr import sqnr_db


@dataclass(frozen=True)
class Figures:
    """The metric of the model's task in percent, points of it ``lost`` against FP32, and SQNR in dB against FP32;
    ``agree``: of the answers of a classifier, percent that are those of FP32."""

    score: float
    lost: float
    sqnr_db: float
    agree: float | None = None


def figures(name: str, graph: onnx.ModelProto, engine: str = "onnxruntime", n: int | None = None) -> Figures:
    """Of a ``graph`` made from the model ``name``, on the first ``n`` of the test data, by default all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path)
        score, answers = _measured(path, TASKS[name], engine, n)
    reference, wanted = fp32(name, n)
    agree = None if TASKS[name] == "coco" else 100 * float((wanted.argmax(1) == answers.argmax(1)).mean())
    return Figures(score, reference - score, sqnr_db(wanted, answers), agree)


@cache
def fp32(name: str, n: int | None = None) -> tuple[float, Array]:
    """The float model's score, and its answers."""
    return _measured(path_of(name), TASKS[name], "onnxruntime", n)


def _measured(path: Path, task: str, engine: str, n: int | None) -> tuple[float, Array]:
    said, answers = judge().measure(str(path), task, engine, n, judge().DATA)
    return float(said["ap" if task == "coco" else "top1"]), answers
