"""How far the mean of what a quantized layer makes is from the float layer's, and whether that can be relied on."""

import math
from dataclasses import dataclass, field

import numpy as np

from onnxq.arrays import Vector
from onnxq.biases.passing import Passing
from onnxq.inputs import Array

TINY = 1e-12  # weights of a channel of which next to nothing is passed on


@dataclass
class BiasError:
    """What was seen batch by batch, the batches in two halves by turns.

    An error ``d`` = float output - quantized output of which an activation function behind passes the share ``s`` on
    counts ``s^2`` times: a shift ``c`` of the bias that makes the least of ``sum (s d - s c)^2``, the error behind that
    function, is their weighted mean. Far below zero a ReLU or a SiLU passes nothing, and the far more numerous
    places where a detector sees nothing have no say in what its Sigmoid makes of the others.

    ``function``: None for none, which passes all; ``sums``: of ``s^2 d``, and ``weights``: of ``s^2``, [channels] for
    each batch; ``signal`` and ``error``: sums of squares of what the function makes, and of its error.
    """

    function: Passing | None = None
    sums: list[Vector] = field(default_factory=list)
    weights: list[Vector] = field(default_factory=list)
    signal: float = 0.0
    error: float = 0.0

    def add(self, wanted: Array, made: Array, axis: int) -> None:
        """One batch, with the channels on ``axis``."""
        if wanted.shape != made.shape:
            self.error = math.inf
            return
        others = tuple(i for i in range(wanted.ndim) if i != axis % wanted.ndim)
        one, other = (array.astype(np.float32, copy=False) for array in (wanted, made))
        with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity: no mean, so no correction
            difference = one - other
            if self.function is None:
                heard, passed, weight = one, difference, np.ones_like(difference)
            else:
                heard = self.function(one)
                passed = heard - self.function(other)
                weight = np.divide(passed, difference, out=np.zeros_like(difference), where=difference != 0) ** 2
            self.sums.append((weight * difference).sum(axis=others).astype(np.float64))
            self.weights.append(weight.sum(axis=others).astype(np.float64))
            self.signal += float(np.vdot(heard, heard))
            self.error += float(np.vdot(passed, passed))

    def correction(self) -> Vector:
        """[channels]: the mean difference where each half's mean lowers the square error of the other half, else 0.

        Adding ``c`` to every value changes the mean square of differences of mean ``m`` by ``c^2 - 2 c m``.
        """
        return np.where(self._change_by_channel() < 0, self._mean(slice(None)), 0)

    def sqnr_db(self) -> tuple[float, float]:
        """The layer's, as it is and corrected; the latter from what each half's correction does to the other half."""
        gained = (np.minimum(self._change_by_channel(), 0) * sum(self.weights)).sum()
        return _db(self.signal, self.error), _db(self.signal, self.error + float(gained))

    @property
    def usable(self) -> bool:
        return math.isfinite(self.signal) and math.isfinite(self.error)

    def _change_by_channel(self) -> Vector:
        """Of the mean square error, the mean over both ways of correcting one half by the other's mean."""
        one, other = self._mean(slice(0, None, 2)), self._mean(slice(1, None, 2))
        return np.asarray((one**2 + other**2) / 2 - 2 * one * other)

    def _mean(self, batches: slice) -> Vector:
        return np.asarray(np.sum(self.sums[batches], axis=0) / np.maximum(np.sum(self.weights[batches], axis=0), TINY))


def _db(signal: float, error: float) -> float:
    return 10 * math.log10(signal / error) if signal > 0 and error > 0 else math.inf
