"""What a batch norm tells of its output: channels that are normally distributed, ``N(beta, |gamma|)``, before the
activation function clips them (white paper, sect. 3.1 and 3.2; Nagel et al. 2019, arXiv 1906.04721, appendix C)."""

import math
from dataclasses import dataclass

import numpy as np

from onnxq.arrays import Vector

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Normal:
    """``mean`` and ``std``, each [channels]."""

    mean: Vector
    std: Vector

    def scaled(self, factor: Vector) -> "Normal":
        """Of the channels times ``factor``, [channels]."""
        return Normal(self.mean * factor, self.std * np.abs(factor))

    def shifted(self, shift: Vector) -> "Normal":
        """Of the channels plus ``shift``, [channels]."""
        return Normal(self.mean + shift, self.std)

    def clipped_mean(self, low: float = -math.inf, high: float = math.inf) -> Vector:
        """The mean of ``clip(x, low, high)``, [channels]: 0 and infinity for ReLU, 0 and 6 for ReLU6."""
        std = np.where(self.std > 0, self.std, 1)
        below, above = (low - self.mean) / std, (high - self.mean) / std
        inside = std * (_density(below) - _density(above)) + self.mean * (_share(above) - _share(below))
        outside = _times(low, _share(below)) + _times(high, 1 - _share(above))
        return np.where(self.std > 0, inside + outside, np.clip(self.mean, low, high))


def _density(x: Vector) -> Vector:
    return np.asarray(np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi), np.float64)


def _share(x: Vector) -> Vector:
    """Of a standard normal variable that lies below ``x``."""
    return np.asarray(0.5 * (1 + _erf(x / math.sqrt(2))), np.float64)


def _times(bound: float, share: Vector) -> Vector:
    """Nothing lies beyond infinity."""
    return bound * share if math.isfinite(bound) else np.zeros_like(share)
