"""What is known of a tensor's values: exact extremes, of each sample too, and a histogram; all of it merges exactly.

A float32 is counted in the bucket of its high 16 bits (sign, exponent, 7 bits of mantissa). No range is needed in
advance, so one pass suffices; counts are integers, so any order and any split of the samples gives the same
result; and every bucket is narrower than 1 % of its values. Of large tensors a part of the values is counted, see
``thinning.py``; the extremes are of all. A tensor takes less than 300 kB, and twice that where a bucket counts more
than four thousand million values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from onnxq.sample_extremes import Extremes, SampleExtremes
from onnxq.thinning import Reduced, by_part, thinned, thinning_of

Counts = NDArray[np.uint32] | NDArray[np.int64]
Weights = NDArray[np.int64]
Weigh = Callable[[tuple[int, ...]], Weights]
"""What each value of a row of some shape counts for."""

BUCKETS = 2**16
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


class Count:
    """Collects the statistics of a tensor that is shown a part at a time."""

    def __init__(self, histogram: bool = True, weigh: Weigh | None = None) -> None:
        self._low, self._high = np.float32(np.inf), np.float32(-np.inf)
        self._samples = Extremes()
        self._counts: Counts | None = np.zeros(BUCKETS, np.uint32) if histogram else None
        self._counted, self._weigh = 0, weigh
        self._known: dict[tuple[int, ...], tuple[Weights, Weights | None]] = {}  # by shape of a row, which mostly stays

    def add(self, array: NDArray[np.float32] | Reduced, samples: int) -> None:
        """The values of so many ``samples``, or what was reduced to their extremes and the values to count."""
        if not isinstance(array, Reduced):
            if not array.size:
                return
            array = Reduced.of(array, some=self._counts is not None)
        lows, highs = _extremes(array.extremes(), samples)
        self._low, self._high = np.minimum(self._low, lows.min()), np.maximum(self._high, highs.max())
        self._samples.add(lows, highs)
        if self._counts is not None and array.some is not None:
            self._count(array, array.some)

    def _count(self, array: Reduced, some: NDArray[np.float32]) -> None:
        thinning = thinning_of(array.shape)
        of_values, of_parts = self._weights(array.shape)
        self._tally(some, thinning.each, of_values)
        if thinning.each == 1 or (of_values is not None and of_parts is None):
            return
        for extremes, sign in ((array.high, 1), (array.low, -1)):
            if extremes is not None:
                self._tally(extremes, 1, of_parts, sign)
                of_hits = None if of_parts is None else of_parts[thinning.parts]
                self._tally(thinning.hits(extremes, some, sign), -thinning.each, of_hits, sign)

    def _tally(self, values: NDArray[np.float32], each: int, weights: Weights | None, sign: int = 0) -> None:
        """Count each of the values, [rows, values], so often, by its weight; those of one ``sign`` only, or all."""
        assert self._counts is not None
        rows = np.ascontiguousarray(values, "<f4")
        buckets = rows.view("<u2")[:, 1::2].astype(np.intp)  # of another type they would be converted bit by bit
        times = None if weights is None else np.broadcast_to(each * weights, buckets.shape)
        if sign:
            kept = sign * rows > 0
            buckets, times = buckets[kept], None if times is None else times[kept]
        self._counted += max(each * buckets.size if times is None else int(times.sum()), 0)
        if self._counted > MOST:  # one of them might overflow
            self._counts = self._counts.astype(np.int64, copy=False)
        # Adding is fast only if both have the same type; what is taken away wraps around there, and back.
        added = np.asarray(each if times is None else times.reshape(-1), np.int64).astype(self._counts.dtype)
        np.add.at(self._counts, buckets.reshape(-1), added[()])

    def _weights(self, shape: tuple[int, ...]) -> tuple[Weights | None, Weights | None]:
        """Of the values of a row that are counted, and of its parts where all that is in one has the same."""
        if self._weigh is None:
            return None, None
        if shape not in self._known:
            weights = self._weigh(shape).reshape(1, *shape)
            parts = by_part(weights)[0]
            alike = bool((parts == parts[:, :1]).all())
            self._known[shape] = thinned(weights).reshape(-1), parts[:, 0] if alike else None
        return self._known[shape]

    def kept(self) -> TensorStatistics:
        """What all parts together had."""
        counts = None if self._counts is None else _narrowest(self._counts)
        return TensorStatistics(float(self._low), float(self._high), counts, self._samples.kept())


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


@cache
def _representatives() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The middle of every finite bucket in rising order, and the bucket it stands for."""
    buckets = np.flatnonzero(FINITE).astype(np.uint32)
    values = ((buckets << 16) | 0x8000).view(np.float32).astype(np.float64)
    values[(buckets & 0x7FFF) == 0] = 0.0  # zero itself, and what is too small to matter
    order = np.argsort(values, kind="stable")
    return values[order], buckets[order].astype(np.intp)
