"""What a range costs: the summed error of a histogram's values, to a power ``p``, that a grid clips and rounds.

Inside a range the error is spread evenly over half a step to both sides, so its p-th power is ``(step / 2)^p / (p +
1)`` on average (``step^2 / 12`` for p = 2; white paper, arXiv 2106.08295, sect. 3.2), and that of a value below half a
step its own p-th power, so that exact zeros err not at all. Outside it is the distance to its end. Running sums make
that a look-up for each range. Values do not always lie evenly, as at the minimum of SiLU: ranges can be measured too.

Of a tensor that only an activation function ``f`` reads, the error of ``f(x)`` counts: ``|f'(x)|^p (step / 2)^p / (p +
1)`` inside, and the distance to ``f`` of its end outside. What ``f`` squashes needs no integers.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxq.nonlinear import Function
from onnxq.scheme import QParams, Range, Scheme, dequantize, qparams, quantize

Floats = NDArray[np.float64]
NUDGE = 1e-4  # of a value: the width of the difference that its slope is taken from
PARTS = 8  # of a step, over which the values of a bucket are spread
ZERO = 0.45  # of a step: what is smaller is zero on every grid of about that step
LONE = 32  # times what its neighbours have: a bucket of one value, at the bound of a Clip, and such bounds are round
TINY = np.finfo(np.float64).tiny


def bucket_ends(values: Floats) -> tuple[Floats, Floats]:
    """From where to where the buckets reach that values of a histogram stand for; that of zero is a point."""
    size = np.abs(values)
    width = np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1] - 8), 0)  # a bucket has 7 bits of mantissa
    inner = np.sign(values) * (size - size % np.maximum(width, TINY))
    outer = inner + np.sign(values) * width
    return np.minimum(inner, outer), np.maximum(inner, outer)


def itself(x: Floats) -> Floats:
    """No function at all."""
    return x


def _on_grid(values: Floats, params: QParams) -> Floats:
    """What the grid of each range makes of the values, [ranges, values]: on an even one, without making integers."""
    scheme = params.scheme
    if not scheme.even:
        return dequantize(quantize(values[None], params), params).astype(np.float64)
    scale, zero = params.scale.astype(np.float64)[:, None], params.zero_point.astype(np.float64)[:, None]
    found = values * (1 / scale)
    np.rint(found, out=found)
    np.maximum(found, scheme.lowest - zero, out=found)
    np.minimum(found, scheme.highest - zero, out=found)
    return np.multiply(found, scale, out=found)


@dataclass(frozen=True)
class RoundingError:
    """Of ``values`` in rising order, seen ``counts`` times, behind a ``function`` that leaves 0 where it is."""

    values: Floats
    counts: NDArray[np.float64]
    function: Function = itself
    p: float = 2.0

    @cached_property
    def made(self) -> Floats:
        """What the function makes of the values."""
        return self.function(self.values)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats]:
        """Running sums of what the function makes of the values, and of its slope, to the power p."""
        width = NUDGE * np.maximum(np.abs(self.values), np.finfo(np.float32).tiny)
        slope = (self.function(self.values + width) - self.function(self.values - width)) / (2 * width)
        powers = (self.counts * np.abs(term) ** self.p for term in (self.made, slope))
        made, slopes = (np.concatenate([[0.0], np.cumsum(term)]) for term in powers)
        return made, slopes

    def estimated(self, low: Floats, high: Floats, scheme: Scheme) -> Floats:
        """By the formula, of every range from ``low`` to ``high``, which are broadcast."""
        step = (high - low) / (scheme.highest - scheme.lowest)
        made, slopes = self._sums
        ends = (np.searchsorted(self.values, low, "left"), np.searchsorted(self.values, high, "right"))
        zeros = (
            np.searchsorted(self.values, np.maximum(low, -step / 2), "left"),
            np.searchsorted(self.values, np.minimum(high, step / 2), "right"),
        )
        rounded = slopes[ends[1]] - slopes[ends[0]] - (slopes[zeros[1]] - slopes[zeros[0]])
        rounded = rounded * (step / 2) ** self.p / (self.p + 1)
        return self._clipped(low, -1) + self._clipped(high, 1) + (made[zeros[1]] - made[zeros[0]]) + rounded

    def _clipped(self, ends: Floats, sign: int) -> Floats:
        """What the values beyond each of the ``ends`` cost."""
        at = ends.ravel()
        beyond = slice(np.searchsorted(self.values, at.min(), "right"), None)
        if sign < 0:
            beyond = slice(None, np.searchsorted(self.values, at.max(), "left"))
        distance = np.abs(self.made[beyond] - self.function(at)[:, None])
        distance[sign * (self.values[beyond] - at[:, None]) < 0] = 0
        return np.asarray(distance**self.p @ self.counts[beyond]).reshape(ends.shape)

    def measured(self, low: Floats, high: Floats, scheme: Scheme) -> Floats:
        """Of the histogram itself, on the grid of each range, [ranges]."""
        error = self.function(_on_grid(self.values, qparams(scheme.along(0), Range(low, high))))
        error -= self.made
        np.abs(error, out=error)
        return np.asarray(np.power(error, self.p, out=error) @ self.counts)

    def spread(self, step: float, full: Range) -> "RoundingError":
        """The same with the values of every bucket spread over it, within the extremes, to tell ranges apart whose
        steps are about that wide. Left out is what all of them round to zero."""
        low, high = (np.clip(ends, full.low, full.high) for ends in bucket_ends(self.values))
        beside = np.maximum(np.append(self.counts[1:], 0), np.append(0, self.counts[:-1]))
        inner = np.where(self.values < 0, high, low)
        low, high = (np.where(self.counts > LONE * beside, inner, ends) for ends in (low, high))
        parts = np.ceil(np.minimum(PARTS * (high - low) / max(step, TINY), PARTS)).astype(np.intp)
        parts[low == high] = 1
        parts[np.maximum(-low, high) < step * ZERO] = 0
        begin, width, counts = (
            np.repeat(each, parts) for each in (low, high - low, self.counts / np.maximum(parts, 1))
        )
        place = np.arange(len(begin)) - np.repeat(np.cumsum(parts) - parts, parts)
        return replace(self, values=begin + (place + 0.5) / np.repeat(parts, parts) * width, counts=counts)
