"""How far the mean of what a quantized layer makes is from the float layer's, and whether that can be relied on."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnxq.inputs import Array

Vector = NDArray[np.float64]


@dataclass
class BiasError:
    """What was seen batch by batch, the batches in two halves by turns.

    ``sums``: of float output - quantized output, [channels]; ``counts``: of the positions they are taken over;
    ``signal`` and ``error``: sums of squares of the float output and of the difference.
    """

    sums: list[Vector] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    signal: float = 0.0
    error: float = 0.0

    def add(self, wanted: Array, made: Array, axis: int) -> None:
        """One batch, with the channels on ``axis``."""
        if wanted.shape != made.shape:
            self.error = math.inf
            return
        axis %= wanted.ndim
        with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity: no mean, so no correction
            signal, difference = wanted.astype(np.float32, copy=False), np.subtract(wanted, made, dtype=np.float32)
            total = difference.sum(axis=tuple(i for i in range(wanted.ndim) if i != axis))
            self.sums.append(total.astype(np.float64))
            self.counts.append(wanted.size // max(1, wanted.shape[axis]))
            self.signal += float(np.vdot(signal, signal))
            self.error += float(np.vdot(difference, difference))

    def correction(self) -> Vector:
        """[channels]: the mean difference where each half's mean lowers the square error of the other half, else 0.

        Adding ``c`` to every value changes the mean square of differences of mean ``m`` by ``c^2 - 2 c m``.
        """
        change = self._change_by_channel()
        return np.where(change < 0, self._mean(slice(None)), 0)

    def sqnr_db(self) -> tuple[float, float]:
        """The layer's, as it is and corrected; the latter from what each half's correction does to the other half."""
        gained = np.minimum(self._change_by_channel(), 0).sum() * sum(self.counts)
        return _db(self.signal, self.error), _db(self.signal, self.error + float(gained))

    @property
    def usable(self) -> bool:
        return math.isfinite(self.signal) and math.isfinite(self.error)

    def _change_by_channel(self) -> Vector:
        """Of the mean square error, the mean over both ways of correcting one half by the other's mean."""
        one, other = self._mean(slice(0, None, 2)), self._mean(slice(1, None, 2))
        return np.asarray((one**2 + other**2) / 2 - 2 * one * other)

    def _mean(self, batches: slice) -> Vector:
        return np.asarray(np.sum(self.sums[batches], axis=0) / max(1, sum(self.counts[batches])))


def _db(signal: float, error: float) -> float:
    return 10 * math.log10(signal / error) if signal > 0 and error > 0 else math.inf
