"""What is known of a tensor's values: exact extremes and a histogram that merges exactly.

A float32 is counted in the bucket of its high 16 bits (sign, exponent, 7 bits of mantissa). No range is needed in
advance, so one pass suffices; counts are integers, so any order and any split of the samples gives the same
result; and every bucket is narrower than 1 % of its values. Of a tensor with more than 8,192 values a sample, an
evenly spread part is counted; the extremes are of all.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2**16
ROW = 2**13  # values of one sample that are counted; of larger tensors, every n-th
FINITE = (np.arange(BUCKETS) & 0x7F80) != 0x7F80  # a full exponent is infinity or NaN


@dataclass(frozen=True)
class TensorStatistics:
    """``low`` and ``high`` are exact; ``counts`` is int64 [65536], or None where only extremes were asked for."""

    low: float
    high: float
    counts: NDArray[np.int64] | None = None

    @staticmethod
    def of(array: NDArray[np.float32], histogram: bool = True) -> "TensorStatistics":
        """The statistics of one float32 array of any shape."""
        count = Count(histogram)
        count.add(array, len(array) if array.ndim else 1)
        return count.kept()

    def merge(self, other: "TensorStatistics") -> "TensorStatistics":
        """The statistics of both sets of values together."""
        counts = None if self.counts is None or other.counts is None else self.counts + other.counts
        # NaN must survive the merge, whichever side it is on.
        return TensorStatistics(
            float(np.minimum(self.low, other.low)), float(np.maximum(self.high, other.high)), counts
        )

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def excited(self) -> bool:
        """Whether any value was other than zero."""
        return self.low != 0 or self.high != 0

    def histogram(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Values in rising order, clipped to the exact extremes, and how often each was seen."""
        if self.counts is None:
            raise ValueError("only extremes were collected")
        values, order = _representatives()
        counts = self.counts[order]
        seen = counts > 0
        return np.clip(values[seen], self.low, self.high), counts[seen]


class Count:
    """Collects the statistics of a tensor that is shown a part at a time."""

    def __init__(self, histogram: bool = True) -> None:
        self._low, self._high = np.float32(np.inf), np.float32(-np.inf)
        self._counts = np.zeros(BUCKETS, np.int64) if histogram else None
        self._waiting: list[NDArray[np.uint16]] = []  # a count has 65536 buckets to go through, however few the values

    def add(self, array: NDArray[np.float32], samples: int) -> None:
        """The values of so many ``samples``."""
        if array.size == 0:
            return
        self._low, self._high = np.minimum(self._low, array.min()), np.maximum(self._high, array.max())
        if self._counts is not None:
            self._waiting.append(_counted(array))
            if sum(part.size for part in self._waiting) >= BUCKETS:
                self._count()

    def kept(self) -> TensorStatistics:
        """What all parts together had."""
        self._count()
        return TensorStatistics(float(self._low), float(self._high), self._counts)

    def _count(self) -> None:
        if self._counts is not None and self._waiting:
            self._counts = self._counts + np.bincount(np.concatenate(self._waiting), minlength=BUCKETS)
            self._waiting = []


def _counted(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The buckets of the values that are counted."""
    rows = np.ascontiguousarray(array, np.dtype("<f4")).reshape(len(array) if array.ndim else 1, -1)
    # The step is odd, so that it meets every column of an image; it does not depend on the batch.
    step = 1 if rows.shape[1] <= ROW else -(-rows.shape[1] // ROW) | 1
    return rows.view("<u2")[:, 1 :: 2 * step].reshape(-1).copy()


@cache
def _representatives() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The middle of every finite bucket in rising order, and the bucket it stands for."""
    buckets = np.flatnonzero(FINITE).astype(np.uint32)
    values = ((buckets << 16) | 0x8000).view(np.float32).astype(np.float64)
    values[(buckets & 0x7FFF) == 0] = 0.0  # zero itself, and what is too small to matter
    order = np.argsort(values, kind="stable")
    return values[order], buckets[order].astype(np.intp)
