"""What is drawn of a graph that is about to become integer: the values of each activation beside the grid that was
chosen for them, in few numbers, and how much of each weight is error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrators.rounding_error import RoundingError, bucket_ends, itself
from onnxq.nonlinear import FUNCTIONS
from onnxq.plan import Activation
from onnxq.scheme import QParams, dequantize, held
from onnxq.sqnr import sqnr_db
from onnxq.statistics import TensorStatistics
from onnxq.watching import Values
from onnxq.workspace import Workspace

BINS = 64


@dataclass(frozen=True)
class SeenValues:
    """A tensor's extremes, and how often it had values in each of 64 bins of one width between them; the share that is
    ``clipped``, and the SQNR that its grid leaves, behind the activation function that is all that reads it, if there
    is one. Without a histogram only the extremes are known."""

    low: float
    high: float
    counts: tuple[int, ...] = ()
    clipped: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Portrait:
    """By tensor: the values of activations, and the SQNR of weights in dB."""

    activations: Mapping[str, SeenValues] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


def portrait(space: Workspace) -> Portrait:
    """Of all that has a grid, and whose values are known; a tensor that takes the grid of another is left out."""
    activations = {}
    for tensor, entry in space.plan.activations.items():
        statistics = _statistics(space, tensor)
        if tensor == entry.grid and tensor in space.activations and statistics is not None and statistics.finite:
            activations[tensor] = _seen(statistics, space.activations[tensor], entry)
    return Portrait(activations, dict(_weights(space)))


def _statistics(space: Workspace, tensor: str) -> TensorStatistics | None:
    """With a histogram where there is one: of values that count by the weights that read them, if these were asked."""
    found = space.statistics.get(tensor)
    if found is not None and found.counts is not None:
        return found
    weighed = (kept for watcher, kept in space.kept.items() if isinstance(watcher, Values) and watcher.tensor == tensor)
    return next((kept for kept in weighed if kept.counts is not None), found)


def _seen(statistics: TensorStatistics, params: QParams, entry: Activation) -> SeenValues:
    if statistics.counts is None or not statistics.counts.any():
        return SeenValues(statistics.low, statistics.high)
    values, counts = statistics.histogram()
    grid = held(params)
    low, high = float(np.min(grid.low)), float(np.max(grid.high))
    half = float(np.max(params.scale)) / 2  # as far beyond an end it is no worse than between two integers
    clipped = float(counts[(values < low - half) | (values > high + half)].sum() / counts.sum())
    cost = RoundingError(values, counts.astype(np.float64), FUNCTIONS.get(entry.through or "", itself))
    error = float(cost.measured(np.array([low]), np.array([high]), params.scheme)[0])
    power = float(np.square(cost.made) @ cost.counts)
    decibel = float(10 * np.log10(power / error)) if power > 0 and error > 0 else None
    return SeenValues(statistics.low, statistics.high, _binned(values, counts, statistics), clipped, decibel)


def _binned(values: NDArray[np.float64], counts: NDArray[np.int64], whole: TensorStatistics) -> tuple[int, ...]:
    """Counts of 64 bins; those of a bucket are spread evenly over it, or bins would show where buckets end."""
    ends = np.clip(np.stack(bucket_ends(values), axis=1), whole.low, whole.high).ravel()
    after = np.cumsum(counts)
    below = np.stack([after - counts, after], axis=1).ravel()
    edges = np.interp(np.linspace(whole.low, whole.high, BINS + 1), ends, below)
    edges[0], edges[-1] = 0, after[-1]
    return tuple(int(count) for count in np.diff(np.rint(edges)))


def _weights(space: Workspace) -> Iterator[tuple[str, float]]:
    known = space.graph.tensors()
    for weight, rounded in space.weights.items():
        tensor = known.get(weight.tensor)
        if isinstance(tensor, gs.Constant):
            values = np.asarray(tensor.values, np.float32)
            if values.shape == rounded.integers.shape:
                yield weight.tensor, sqnr_db(values, dequantize(rounded.integers, rounded.params))
