"""The range whose integers tell most of the distribution: the least Kullback-Leibler divergence ``D(P || Q)``.

S. Migacz, "8-bit Inference with TensorRT", GTC 2017. ``P`` is how the values are distributed over bins, several to each
integer of the grid, with what is clipped folded into the integers at the ends; ``Q`` is what integers keep of it: the
values of an integer, without those that were clipped to it, spread evenly over those of its bins that have any. The
ends are the outermost integers that have values at all. With ``p`` in a bin, ``m`` in the ``n`` such bins of its
integer, ``c`` clipped to it, and ``s`` the sum of all ``m``, which is at least a half, it is the sum over the bins of

    P log(P / Q) = p k log(p n / m) + p k log(k s)    with k = (m + c) / m

He has 2,048 bins up to the greatest value, so that a narrow range has but one for an integer; here every range has
bins of its own, read off the histogram with the values of a bucket spread over it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrators.range_search import best, both_ends, existing, nearby, on_its_grid
from onnxq.calibrators.rounding_error import TINY, Floats, bucket_ends
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, qparams
from onnxq.statistics import TensorStatistics

BINS = 1024  # about as many in all: 5 for each integer of 8 bits
MOST_BITS = 9  # of a grid whose steps the histogram can tell
NEARER = (np.geomspace(0.89, 1.12, 24), np.geomspace(0.95, 1.05, 21))  # it goes up and down with each clipped value
COARSE = np.geomspace(1, 1 / 500, 32)  # of the extremes


@dataclass(frozen=True)
class Entropy:
    """It judges the tensor itself, whatever reads it. A grid of more than 9 bits gets all that was seen."""

    histogram: ClassVar[bool] = True

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        full = Range.of(statistics.low, statistics.high)
        divergence = Divergence.of(statistics)
        return on_its_grid(full, schemes, lambda scheme: least_divergence(divergence, full, scheme))


def least_divergence(divergence: "Divergence", full: Range, scheme: Scheme) -> Range:
    """The best range within ``full`` on the grid of ``scheme``."""
    if scheme.bits > MOST_BITS:
        return full
    low, high = np.minimum(full.low, 0), np.maximum(full.high, 0)
    if scheme.steps is not Steps.EVEN:
        found = best(divergence, *existing(scheme, float(low), float(high)), scheme)
    else:
        reach = np.maximum(-low, high)
        whole = Range(np.where(low < 0, -reach, 0), reach) if scheme.symmetric else Range(low, high)
        found = nearby(divergence, _roughly(divergence, whole, scheme), whole, scheme, NEARER)
    return Range(found.low if low < 0 else full.low, found.high)


def _roughly(divergence: "Divergence", whole: Range, scheme: Scheme) -> Range:
    """Both ends together; where each has its own, the farther one first, which decides on the step, and again."""
    moves = [(1, 1)]
    if both_ends(scheme, whole):
        moves = [(0, 1), (1, 0), (0, 1)] if whole.high > -whole.low else [(1, 0), (0, 1), (1, 0)]
    low, high = whole.low, whole.high
    for low_moves, high_moves in moves:
        lows, highs = np.broadcast_arrays(
            whole.low * COARSE if low_moves else low, whole.high * COARSE if high_moves else high
        )
        found = best(divergence, lows, highs, scheme)
        low, high = found.low, found.high
    return Range(low, high)


@dataclass(frozen=True)
class Divergence:
    """Of values of which a share, ``below``, lies below each of the ``points``, and which lie evenly between them."""

    points: Floats
    below: Floats

    @staticmethod
    def of(statistics: TensorStatistics) -> "Divergence":
        """Of the values of a histogram."""
        values, counts = statistics.histogram()
        points = np.clip(np.stack(bucket_ends(values), axis=1), statistics.low, statistics.high)
        below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
        return Divergence(points.ravel(), np.repeat(below, 2)[1:-1])

    def measured(self, low: Floats, high: Floats, scheme: Scheme) -> Floats:
        """[ranges]; infinite of a range that clips most values."""
        below = np.interp(_bins(scheme, low, high), self.points, self.below)
        p = np.diff(below).reshape(len(below), -1, _parts(scheme))
        every = np.ones(p.shape[2])  # whose product with it sums faster than sum does
        m, n = p @ every, (p > 0) @ every
        inner = (p * np.log(np.maximum(p, TINY))) @ every - m * np.log(np.maximum(m, TINY) / np.maximum(n, 1))
        folded, ranges = m.copy(), np.arange(len(m))
        folded[ranges, np.argmax(m > 0, axis=1)] += below[:, 0]
        folded[ranges, -1 - np.argmax(m[:, ::-1] > 0, axis=1)] += 1 - below[:, -1]
        k = np.divide(folded, m, out=np.ones_like(m), where=m > 0)
        s = m.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (k * inner + folded * np.log(k * s)).sum(axis=1)
        return np.where(s[:, 0] < 0.5, np.inf, found)


def _parts(scheme: Scheme) -> int:
    """How many bins an integer has: an odd number, so that zero lies within one of them."""
    return BINS // (scheme.highest - scheme.lowest + 1) | 1


def _bins(scheme: Scheme, low: Floats, high: Floats) -> Floats:
    """The edges of the bins of all integers, [ranges, bins + 1]. A value is rounded to the nearest integer; the last
    one at each end has as much on its outer side as on its inner one."""
    params = qparams(scheme.along(0), Range(low, high))
    every = np.arange(scheme.lowest, scheme.highest + 1).astype(scheme.dtype)
    reals = np.sort(dequantize(np.broadcast_to(every, (len(low), len(every))), params).astype(np.float64), axis=1)
    middles = (reals[:, 1:] + reals[:, :-1]) / 2
    edges = np.hstack([2 * reals[:, :1] - middles[:, :1], middles, 2 * reals[:, -1:] - middles[:, -1:]])
    parts = _parts(scheme)
    inside = edges[:, :-1, None] + np.diff(edges)[:, :, None] * (np.arange(parts) / parts)
    return np.hstack([inside.reshape(len(low), -1), edges[:, -1:]])
