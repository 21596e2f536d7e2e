"""The range with the least mean squared error: what is clipped against what is rounded.

White paper (arXiv 2106.08295), sect. 3.2. Values inside the range err by ``step^2 / 12`` on average (those below
half a step by their own square, so exact zeros not at all), values outside by their distance to its end. With sums
of counts, values and squares up to every value, a candidate costs a look-up, so both ends are searched over a grid.
The best of them are then measured, since values are not always spread evenly: after SiLU many lie at its minimum.
Where only some grids exist, as with scales that are powers of two, those are the candidates.

Of a tensor that only an activation function ``f`` reads, the error of ``f(x)`` counts: ``f'(x)^2 step^2 / 12`` inside
the range, and the distance to ``f`` of its end outside. What ``f`` squashes needs no integers.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, held, qparams, quantize
from onnxq.statistics import TensorStatistics

Floats = NDArray[np.float64]
FRACTIONS = np.geomspace(0.02, 1.0, 96)
MEASURED = 48
NARROWEST = 1 / 16  # of the extremes, where only some grids exist
NUDGE = 1e-4  # of a value: the width of the difference that its slope is taken from


@dataclass(frozen=True)
class Mse:
    """Searches fractions of the exact extremes, both ends at once where the grid is asymmetric. ``measured`` of the
    candidates, the best by the formula, are measured."""

    measured: int = MEASURED
    histogram: ClassVar[bool] = True

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        sums = Moments(*statistics.histogram(), through or _itself)
        full = Range.of(statistics.low, statistics.high)
        scheme = schemes.of(full)
        found = search(sums, full, scheme, self.measured)
        clipped = schemes.of(found)  # a lopsided range may be even without its longer tail
        return found if clipped == scheme else search(sums, full, clipped, self.measured)


def search(sums: "Moments", full: Range, scheme: Scheme, measured: int = MEASURED) -> Range:
    """The best range within ``full`` on the grid of ``scheme``."""
    low, high = min(float(full.low), 0.0), max(float(full.high), 0.0)
    if scheme.steps is not Steps.EVEN:
        lows, highs = _existing(scheme, low, high)
        good = np.arange(len(lows))
    else:
        lows, highs = _fractions(scheme, low, high)
        good = np.argsort(sums.error(lows, highs, scheme), kind="stable")[:measured]
    best = min(good, key=lambda i: sums.measured(Range(lows[i], highs[i]), scheme))
    return Range.of(lows[best] if low < 0 else float(full.low), highs[best])


def _fractions(scheme: Scheme, low: float, high: float) -> tuple[Floats, Floats]:
    """Of both ends at once where the grid is asymmetric."""
    if low < 0 < high and not scheme.symmetric:
        lows, highs = np.meshgrid(low * FRACTIONS, high * FRACTIONS)
        return lows.ravel(), highs.ravel()
    reach = max(-low, high) * FRACTIONS
    return -reach if low < 0 else 0 * reach, reach if high > 0 or scheme.symmetric else 0 * reach


def _itself(x: Floats) -> Floats:
    return x


def _existing(scheme: Scheme, low: float, high: float) -> tuple[Floats, Floats]:
    """The ends of every grid there is from the one that holds ``low`` and ``high`` down to narrow ones."""
    whole = held(qparams(scheme, Range.of(low, high)))
    step = scheme.steps.value
    narrower = step ** -np.arange(1 + int(-np.log(NARROWEST) / np.log(step)), dtype=np.float64)
    return whole.low * narrower, whole.high * narrower


class Moments:
    """Running sums of a histogram behind ``function``, which leaves 0 where it is: how many values, the sums of what
    it makes of them, of its squares, and of the squares of its slope, up to any point."""

    def __init__(self, values: Floats, counts: NDArray[np.int64], function: Function) -> None:
        self.values, self.counts, self.function = values, counts, function
        self.made = function(values)
        width = NUDGE * np.maximum(np.abs(values), np.finfo(np.float32).tiny)
        slope = (function(values + width) - function(values - width)) / (2 * width)
        terms = (np.ones(len(values)), self.made, self.made**2, slope**2)
        self.sums = [np.concatenate([[0.0], np.cumsum(counts * term)]) for term in terms]

    def measured(self, found: Range, scheme: Scheme) -> float:
        """Summed squared error of the histogram itself on the grid of ``found``."""
        params = qparams(scheme, found)
        rounded = dequantize(quantize(self.values, params), params).astype(np.float64)
        return float(self.counts @ (self.function(rounded) - self.made) ** 2)

    def below(self, ends: Floats, side: str) -> list[Floats]:
        """The four sums over the values below each end (``side='right'``: or on it)."""
        index = np.searchsorted(self.values, ends, side="left" if side == "left" else "right")
        return [total[index] for total in self.sums]

    def error(self, low: Floats, high: Floats, scheme: Scheme) -> Floats:
        """Summed squared error of each candidate range [low, high] on the grid of ``scheme``."""
        step = (high - low) / (scheme.highest - scheme.lowest)
        f_low, f_high = self.function(low), self.function(high)
        n_low, s_low, q_low, d_low = self.below(low, "left")
        n_top, s_top, q_top, d_top = self.below(high, "right")
        n_all, s_all, q_all, _ = (total[-1] for total in self.sums)
        clipped = q_low - 2 * f_low * s_low + f_low**2 * n_low
        clipped = clipped + (q_all - q_top) - 2 * f_high * (s_all - s_top) + f_high**2 * (n_all - n_top)
        _, _, q_a, d_a = self.below(np.maximum(low, -step / 2), "left")
        _, _, q_b, d_b = self.below(np.minimum(high, step / 2), "right")
        rounded = (d_top - d_low - (d_b - d_a)) * step**2 / 12
        return np.asarray(clipped + (q_b - q_a) + rounded)
