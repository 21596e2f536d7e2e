"""What is known of a tensor's values: exact extremes, of each sample too, and a histogram; all of it merges exactly.

A float32 is counted in the bucket of its high 16 bits (sign, exponent, 7 bits of mantissa). No range is needed in
advance, so one pass suffices; counts are integers, so any order and any split of the samples gives the same
result; and every bucket is narrower than 1 % of its values. Of a tensor with more than 8,192 values a sample, an
evenly spread part is counted; the extremes are of all. A tensor takes less than 300 kB, however many samples there are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxq.sample_extremes import Extremes, SampleExtremes

Counts = NDArray[np.uint32] | NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)
Weigh = Callable[[tuple[int, ...]], NDArray[np.int64]]
"""What each value of a row of some shape counts for."""

BUCKETS = 2**16
ROW = 2**13  # values of one sample that are counted; of larger tensors, every n-th
MOST = 2**32 - 1  # that a count of 32 bits holds
FINITE = (np.arange(BUCKETS) & 0x7F80) != 0x7F80  # a full exponent is infinity or NaN


@dataclass(frozen=True)
class TensorStatistics:
    """``low`` and ``high`` are exact; ``counts`` is [65536], uint32 (int64 if one of them is more than that holds), or
    None where only extremes were asked for; ``samples`` has the extremes of each, or is None where nobody saw them."""

    low: float
    high: float
    counts: Counts | None = None
    samples: SampleExtremes | None = None

    @staticmethod
    def of(array: NDArray[np.float32], histogram: bool = True) -> "TensorStatistics":
        """The statistics of one float32 array of any shape."""
        count = Count(histogram)
        count.add(array, len(array) if array.ndim else 1)
        return count.kept()

    def merge(self, later: "TensorStatistics") -> "TensorStatistics":
        """The statistics of these samples and the ``later`` ones together."""
        counts = None
        if self.counts is not None and later.counts is not None:
            counts = _narrowest(np.add(self.counts, later.counts, dtype=np.int64))
        samples = None if self.samples is None or later.samples is None else self.samples.merge(later.samples)
        # NaN must survive the merge, whichever side it is on.
        low, high = np.minimum(self.low, later.low), np.maximum(self.high, later.high)
        return TensorStatistics(float(low), float(high), counts, samples)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def reach(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def excited(self) -> bool:
        """Whether any value was other than zero."""
        return self.low != 0 or self.high != 0

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Values in rising order, clipped to the exact extremes, and how often each was seen."""
        if self.counts is None:
            raise ValueError("only extremes were collected")
        values, order = _representatives()
        counts = self.counts[order].astype(np.int64)
        seen = counts > 0
        return np.clip(values[seen], self.low, self.high), counts[seen]

    def each(self) -> SampleExtremes:
        """The extremes of every sample."""
        if self.samples is None:
            raise ValueError("the extremes of single samples were not collected")
        return self.samples


@dataclass(frozen=True)
class Reduced:
    """Of a tensor of n rows: ``high`` and, unless it is known to be 0, ``low`` of parts of each row, [n, parts]; the
    ``total`` or mean of these, in which no NaN is lost; and ``some`` of its values, [n, k], if they were asked for.
    ``shape``: of a row."""

    shape: tuple[int, ...]
    high: NDArray[np.float32]
    total: NDArray[np.float32] | None = None
    low: NDArray[np.float32] | None = None
    some: NDArray[np.float32] | None = None

    def extremes(self) -> NDArray[np.float32]:
        """The lows and the highs of parts, [n, 2 * parts]."""
        low = np.minimum(self.high, 0) if self.low is None else self.low
        both = np.concatenate([low, self.high], axis=1)
        return both if self.total is None else np.where(np.isnan(np.tile(self.total, 2)), np.nan, both)


class Count:
    """Collects the statistics of a tensor that is shown a part at a time."""

    def __init__(self, histogram: bool = True, weigh: Weigh | None = None) -> None:
        self._low, self._high = np.float32(np.inf), np.float32(-np.inf)
        self._samples = Extremes()
        self._counts: Counts | None = np.zeros(BUCKETS, np.uint32) if histogram else None
        self._counted, self._weigh = 0, weigh
        self._known: dict[tuple[int, ...], NDArray[np.int64]] = {}  # by shape of a row, which mostly stays

    def add(self, array: NDArray[np.float32] | Reduced, samples: int) -> None:
        """The values of so many ``samples``, or what was reduced to their extremes and the values to count."""
        if isinstance(array, Reduced):
            self._add(array.extremes(), array.some, array.shape, samples)
        elif array.size:
            self._add(array, _some(array), array.shape[1:], samples)

    def _add(
        self, array: NDArray[np.float32], counted: NDArray[np.float32] | None, shape: tuple[int, ...], samples: int
    ) -> None:
        lows, highs = _extremes(array, samples)
        self._low, self._high = np.minimum(self._low, lows.min()), np.maximum(self._high, highs.max())
        self._samples.add(lows, highs)
        if self._counts is not None and counted is not None:
            self._count(self._counts, _buckets(counted), self._weights(shape))

    def _weights(self, shape: tuple[int, ...]) -> NDArray[np.int64] | None:
        """Of the values of a row that are counted."""
        if self._weigh is None:
            return None
        if shape not in self._known:
            self._known[shape] = _some(self._weigh(shape).reshape(1, *shape)).reshape(-1)
        return self._known[shape]

    def kept(self) -> TensorStatistics:
        """What all parts together had."""
        counts = None if self._counts is None else _narrowest(self._counts)
        return TensorStatistics(float(self._low), float(self._high), counts, self._samples.kept())

    def _count(self, counts: Counts, buckets: NDArray[np.intp], weights: NDArray[np.int64] | None) -> None:
        self._counted += buckets.size if weights is None else len(buckets) * int(weights.sum())
        if self._counted > MOST:  # one of them might overflow
            self._counts = counts = counts.astype(np.int64, copy=False)
        one = counts.dtype.type(1)  # adding is fast only if it has the same type
        each = one if weights is None else np.tile(weights.astype(counts.dtype), len(buckets))
        np.add.at(counts, buckets.reshape(-1), each)


def _extremes(array: NDArray[np.float32], samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each sample: of its rows, or of all together where rows do not tell which sample they are of."""
    if array.ndim == 0 or len(array) % samples:
        return np.full(samples, array.min()), np.full(samples, array.max())
    rows = array.reshape(samples, -1)
    return rows.min(axis=1), rows.max(axis=1)


def _narrowest(counts: Counts) -> Counts:
    """A copy, in 32 bits if they hold it."""
    if counts.max() <= MOST:
        return counts.astype(np.uint32)
    return counts.astype(np.int64)


def _buckets(values: NDArray[np.float32]) -> NDArray[np.intp]:
    """One for each value, [rows, values]; indices of another type would be converted a few at a time."""
    rows = np.ascontiguousarray(values, np.dtype("<f4")).reshape(len(values) if values.ndim else 1, -1)
    return rows.view("<u2")[:, 1::2].astype(np.intp)


def _some(array: NDArray[Number]) -> NDArray[Number]:
    """The values that are counted, evenly spread over each row and the same whatever the batch."""
    shape = array.shape[1:]
    if is_image(shape):
        return array[(slice(None), slice(None), *(slice(None, None, step) for step in lattice(shape)))]
    return array.reshape(len(array), -1)[:, :: every_nth(shape)] if array.ndim else array


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether [channels, positions...] has two or three axes of positions, as what onnxruntime pools has."""
    return len(shape) in (3, 4)


def lattice(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Along each axis of positions of [channels, positions...] at every how many of them values are counted: odd
    numbers, so that patterns of two, as upsampling makes them, are met everywhere."""
    steps, size = [1] * (len(shape) - 1), math.prod(shape)
    while size > ROW * math.prod(steps):
        steps[steps.index(min(steps))] += 2
    return tuple(steps)


def every_nth(shape: tuple[int, ...]) -> int:
    """Every how many values of a row one is counted: an odd number, so that every column is met."""
    size = math.prod(shape)
    return 1 if size <= ROW else -(-size // ROW) | 1


@cache
def _representatives() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The middle of every finite bucket in rising order, and the bucket it stands for."""
    buckets = np.flatnonzero(FINITE).astype(np.uint32)
    values = ((buckets << 16) | 0x8000).view(np.float32).astype(np.float64)
    values[(buckets & 0x7FFF) == 0] = 0.0  # zero itself, and what is too small to matter
    order = np.argsort(values, kind="stable")
    return values[order], buckets[order].astype(np.intp)
