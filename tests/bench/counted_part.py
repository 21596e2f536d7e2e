"""What it does to ranges that of large tensors only an evenly spread part of the values is counted.

    python tests/bench/counted_part.py [MODEL ...]

Of every planned tensor: how far the range moves from the one that all values give, in % of its reach, and by how many %
more (of lp to the power 2.4, else squared) the error then is, measured on all values; of half of the tensors it is at
most as much, of 99 in 100, and of all.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from calibration import prepared
from corpus import CORPUS, MISSING, TASKS, feeds, path_of
from onnxq import thinning
from onnxq.calibrators import calibrator_of
from onnxq.calibrators.rounding_error import RoundingError, itself
from onnxq.model import load_model
from onnxq.nonlinear import FUNCTIONS
from onnxq.passes.calibrate import collect
from onnxq.scheme import Range
from onnxq.statistics import TensorStatistics
from onnxq.workspace import Workspace
from table import table

SAMPLES = {"cifar10": 64, "kws": 64, "coco": 16}
ROWS = (2**14, 2**13, 2**12, 2**11)  # values of a sample that are counted
CALIBRATORS = ("mse", "lp", "entropy", "percentile")
COLUMNS = (
    "model",
    "counted",
    "calibrator",
    "tensors",
    "moved %: half",
    "99 in 100",
    "all",
    "more %: half",
    "99 in 100",
    "all",
)


def rows(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as path, np.load(path) as held:
            space = prepared(load_model(path_of(name)), {key: held[key] for key in held.files})
        found = {row: counted(space, row) for row in (sys.maxsize, *ROWS)}
        whole = found.pop(sys.maxsize)
        for row, part in found.items():
            for calibrator in CALIBRATORS:
                differences = [d for tensor in part if (d := difference(space, tensor, calibrator, whole, part))]
                if not differences:
                    continue
                levels = [
                    100 * float(np.quantile(each, q)) for each in zip(*differences, strict=True) for q in (0.5, 0.99, 1)
                ]
                yield [name, row, calibrator, len(differences), *levels]


def counted(space: Workspace, row: int) -> dict[str, TensorStatistics]:
    """The statistics of tensors, of which so many values of a sample count."""
    before, thinning.ROW = thinning.ROW, row
    try:
        fresh = space.copy()
        collect(fresh, space.plan.watched, True)
        return {tensor: fresh.statistics[tensor] for tensor in space.plan.watched}
    finally:
        thinning.ROW = before


def difference(space: Workspace, tensor: str, name: str, whole: Any, part: Any) -> tuple[float, float] | None:
    """How far the range moves, and how much more its error is; None where all values are counted anyway."""
    entry = space.plan.activations.get(tensor)
    if entry is None or whole[tensor].counts.sum() == part[tensor].counts.sum():
        return None
    function = FUNCTIONS.get(entry.through or "")
    one, other = (calibrator_of(name)().range(known[tensor], entry.schemes, function) for known in (whole, part))
    ends = np.array([[found.low, found.high] for found in (one, other)], np.float64)
    values, counts = whole[tensor].histogram()
    error = RoundingError(values, counts.astype(np.float64), function or itself, 2.4 if name == "lp" else 2.0)
    costs = [
        error.measured(np.array([end[0]]), np.array([end[1]]), entry.schemes.of(Range.of(*end)))[0] for end in ends
    ]
    return float(np.abs(ends[1] - ends[0]).max() / np.abs(ends[0]).max()), float(costs[1] / costs[0] - 1)


if __name__ == "__main__":
    if not CORPUS:
        sys.exit(MISSING)
    table("Ranges by a part of the values", COLUMNS, rows(sys.argv[1:] or tuple(TASKS)))
