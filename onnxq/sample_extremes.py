"""How far each sample reaches: exact sums of the lows and highs of all samples, and those of the latest ones.

A float32 is an integer times 2^-149, so Python's integers sum them exactly, in any order. The latest samples are kept
in the order of the samples: of two parts in order, the last ones of both are the last ones of the whole.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LATEST = 1024  # samples whose own extremes are kept
UNIT = 149  # every float32 is a multiple of 2^-149
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class SampleExtremes:
    """Of ``count`` samples: ``low_sum`` and ``high_sum`` in units of 2^-149; ``latest``, float32 [n, 2], the low and
    the high of each of the last 1,024. Samples with an infinite value or NaN are left out."""

    count: int
    low_sum: int
    high_sum: int
    latest: Singles

    @staticmethod
    def of(pairs: Singles) -> "SampleExtremes":
        """``pairs``: [samples, 2], the low and the high of each in the order of the samples."""
        known = pairs[np.isfinite(pairs).all(axis=1)]
        low, high = known.T
        return SampleExtremes(len(known), exact_sum(low), exact_sum(high), known[-LATEST:].copy())

    def merge(self, later: "SampleExtremes") -> "SampleExtremes":
        """Of these samples and the ``later`` ones together."""
        latest = np.concatenate([self.latest, later.latest])[-LATEST:]
        low_sum, high_sum = self.low_sum + later.low_sum, self.high_sum + later.high_sum
        return SampleExtremes(self.count + later.count, low_sum, high_sum, latest)

    @property
    def mean(self) -> tuple[float, float]:
        """The mean low and the mean high, correctly rounded; NaN of no sample."""
        if not self.count:
            return np.nan, np.nan
        return self.low_sum / (self.count << UNIT), self.high_sum / (self.count << UNIT)

    @property
    def earlier(self) -> "SampleExtremes":
        """Of the samples before the latest ones, of which only the sums are known."""
        low, high = self.latest.T
        sums = self.low_sum - exact_sum(low), self.high_sum - exact_sum(high)
        return SampleExtremes(self.count - len(self.latest), *sums, self.latest[:0])


def exact_sum(values: Singles) -> int:
    """Of finite values, in units of 2^-149."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    exponents = bits >> 23 & 0xFF
    mantissas = np.where(exponents > 0, bits & 0x7FFFFF | 0x800000, bits & 0x7FFFFF)
    # Of each exponent the mantissas, 24 bits, sum exactly in float64; subnormals share the units of the least normals.
    sums = np.bincount(np.maximum(exponents, 1) - 1, np.where(bits < 0, -mantissas, mantissas))
    return sum(int(part) << int(i) for i, part in zip(np.flatnonzero(sums), sums[sums != 0], strict=True))


class Extremes:
    """Collects the extremes of samples, some at a time."""

    ROOM = 256  # samples that wait: a merge costs the same for one and for many

    def __init__(self) -> None:
        self._known = SampleExtremes.of(np.zeros((0, 2), np.float32))
        self._waiting = np.zeros((self.ROOM, 2), np.float32)
        self._used = 0

    def add(self, lows: Singles, highs: Singles) -> None:
        """One low and one high a sample."""
        if self._used + len(lows) > self.ROOM:
            self._known, self._used = self.kept(), 0
        if len(lows) > self.ROOM:
            self._known = self._known.merge(SampleExtremes.of(np.stack([lows, highs], axis=1)))
            return
        end = self._used + len(lows)
        self._waiting[self._used : end, 0], self._waiting[self._used : end, 1] = lows, highs
        self._used = end

    def kept(self) -> SampleExtremes:
        """Those of all samples together."""
        return self._known.merge(SampleExtremes.of(self._waiting[: self._used]))
