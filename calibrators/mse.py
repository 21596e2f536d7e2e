"""The range with the least mean squared error: what is clipped against what is rounded.

White paper (arXiv 2106.08295), sect. 3.2. Values inside the range err by ``step^2 / 12`` on average (those below
half a step by their own square, so exact zeros not at all), values outside by their distance to its end. With sums
of counts, values and squares up to every value, a candidate costs a look-up, so both ends are searched over a grid.
The best of them are then measured, since values are not always spread evenly: after SiLU many lie at its minimum.
Where only some grids exist, as with scales that are powers of two, those are the candidates.

Of a tensor that only an activation function reads, it is the error behind that function that counts.
"""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, held, qparams, quantize
from onnxq.statistics import TensorStatistics

Floats = NDArray[np.float64]
FRACTIONS = np.geomspace(0.02, 1.0, 96)
COARSE = np.geomspace(0.02, 1.0, 32)
BUCKETS = 1024
MEASURED = 48  # of the candidates, the best by the formula
NARROWEST = 1 / 16  # of the extremes, where only some grids exist


@dataclass(frozen=True)
class Mse:
    """Searches fractions of the exact extremes, both ends at once where the grid is asymmetric."""

    histogram: ClassVar[bool] = True

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        if through is not None and statistics.low < 0 < statistics.high:
            return behind(through, statistics, schemes)
        sums = Moments(*statistics.histogram())
        low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
        scheme = schemes.of(Range.of(statistics.low, statistics.high))
        if scheme.steps is not Steps.EVEN:
            lows, highs = _existing(scheme, low, high)
        elif low == 0 or high == 0 or scheme.symmetric:
            reach = max(-low, high) * FRACTIONS
            lows = -reach if low < 0 else 0 * reach
            highs = reach if high > 0 or scheme.symmetric else 0 * reach
        else:
            lows, highs = (end.ravel() for end in np.meshgrid(low * FRACTIONS, high * FRACTIONS))
        good = np.arange(len(lows))
        if scheme.steps is Steps.EVEN:
            good = np.argsort(sums.error(lows, highs, scheme), kind="stable")[:MEASURED]
        best = min(good, key=lambda i: sums.measured(Range(lows[i], highs[i]), scheme))
        return Range.of(lows[best] if statistics.low < 0 else statistics.low, highs[best])


def behind(function: Function, statistics: TensorStatistics, schemes: ActivationSchemes) -> Range:
    """The range after which the error of ``function(x)`` is least: what it squashes needs no integers."""
    values, counts = merged(*statistics.histogram())
    exact = function(values)
    best, least = Range.of(statistics.low, statistics.high), np.inf
    for low, high in product(statistics.low * COARSE, statistics.high * COARSE):
        found = Range.of(low, high)
        params = qparams(schemes.of(found), found)
        rounded = dequantize(quantize(values, params), params).astype(np.float64)
        error = float(counts @ (function(rounded) - exact) ** 2)
        if error < least:
            best, least = found, error
    return best


def merged(values: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The histogram with neighbouring buckets taken together, so that at most ``BUCKETS`` are left."""
    starts = np.unique(np.linspace(0, len(values), BUCKETS, endpoint=False, dtype=np.int64))
    totals = np.add.reduceat(counts, starts).astype(np.float64)
    return np.add.reduceat(values * counts, starts) / np.maximum(totals, 1), totals


def _existing(scheme: Scheme, low: float, high: float) -> tuple[Floats, Floats]:
    """The ends of every grid there is from the one that holds ``low`` and ``high`` down to narrow ones."""
    whole = held(qparams(scheme, Range.of(low, high)))
    step = scheme.steps.value
    narrower = step ** -np.arange(1 + int(-np.log(NARROWEST) / np.log(step)), dtype=np.float64)
    return whole.low * narrower, whole.high * narrower


class Moments:
    """Running sums of a histogram: how many values, their sum and their squares, up to any point."""

    def __init__(self, values: Floats, counts: NDArray[np.int64]) -> None:
        self.values, self.counts = values, counts
        self.sums = [np.concatenate([[0.0], np.cumsum(counts * values**power, dtype=np.float64)]) for power in range(3)]

    def measured(self, found: Range, scheme: Scheme) -> float:
        """Summed squared error of the histogram itself on the grid of ``found``."""
        params = qparams(scheme, found)
        return float(self.counts @ (dequantize(quantize(self.values, params), params) - self.values) ** 2)

    def below(self, ends: Floats, side: str) -> list[Floats]:
        """Count, sum and sum of squares of the values below each end (``side='right'``: or on it)."""
        index = np.searchsorted(self.values, ends, side="left" if side == "left" else "right")
        return [total[index] for total in self.sums]

    def error(self, low: Floats, high: Floats, scheme: Scheme) -> Floats:
        """Summed squared error of each candidate range [low, high] on the grid of ``scheme``."""
        levels = scheme.highest - scheme.lowest
        step = (high - low) / levels
        n_low, s_low, q_low = self.below(low, "left")
        n_top, s_top, q_top = self.below(high, "right")
        n_all, s_all, q_all = (total[-1] for total in self.sums)
        clipped = q_low - 2 * low * s_low + low**2 * n_low
        clipped = clipped + (q_all - q_top) - 2 * high * (s_all - s_top) + high**2 * (n_all - n_top)
        lost_low, lost_top = np.maximum(low, -step / 2), np.minimum(high, step / 2)
        n_a, _, q_a = self.below(lost_low, "left")
        n_b, _, q_b = self.below(lost_top, "right")
        rounded = (n_top - n_low - (n_b - n_a)) * step**2 / 12
        return np.asarray(clipped + (q_b - q_a) + rounded)
