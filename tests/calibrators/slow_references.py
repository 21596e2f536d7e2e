"""Calibrators as their formulas are written: every range is tried on the values themselves, however long it takes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onnxq.scheme import Range, Scheme, dequantize, qparams, quantize
from onnxq.statistics import TensorStatistics

Values = NDArray[np.float32]
Cost = Callable[[float, float], float]


def values_of(name: str, size: int, seed: int = 0) -> Values:
    """So many of a distribution, in no order."""
    rng = np.random.default_rng(seed)
    drawn = {
        "heavy-tailed": rng.standard_t(3, size),
        "laplace": rng.laplace(size=size),
        "uniform": rng.uniform(-1, 1, size),
        "bimodal": np.where(rng.random(size) < 0.5, rng.normal(-2, 0.3, size), rng.normal(3, 0.5, size)),
        "half-normal": np.abs(rng.standard_normal(size)),
    }
    return drawn[name].astype(np.float32)


def statistics_of(values: Values) -> TensorStatistics:
    """Of values that are few enough in a sample for all of them to be counted."""
    return TensorStatistics.of(values.reshape(-1, 1000))


def rounding_error(values: Values, scheme: Scheme, p: float = 2.0) -> Cost:
    """The sum of ``|error|^p`` on the grid of a range."""

    def cost(low: float, high: float) -> float:
        params = qparams(scheme, Range.of(low, high))
        error = dequantize(quantize(values, params), params) - values
        return float(np.dot(error, error) if p == 2 else np.sum(np.abs(error, dtype=np.float64) ** p))

    return cost


def divergence(values: Values, scheme: Scheme, parts: int) -> Cost:
    """``D(P || Q)`` as S. Migacz has it, with so many bins to an integer."""
    rising = np.sort(values.astype(np.float64))

    def cost(low: float, high: float) -> float:
        params = qparams(scheme, Range.of(low, high))
        step, zero = float(params.scale), int(params.zero_point)
        edges = (
            scheme.lowest - zero - 0.5 + np.arange((scheme.highest - scheme.lowest + 1) * parts + 1) / parts
        ) * step
        below = np.searchsorted(rising, edges)
        reference = np.diff(below).reshape(-1, parts) / len(rising)
        bins = (reference > 0).sum(axis=1, keepdims=True)
        kept = reference.sum(axis=1, keepdims=True)
        quantized = np.where(reference > 0, kept / np.maximum(bins, 1), 0)
        if kept.sum() < 0.5:
            return np.inf
        taken = np.flatnonzero(kept)
        for end, clipped in ((taken[0], below[0]), (taken[-1], len(rising) - below[-1])):
            reference[end] *= 1 + clipped / len(rising) / kept[end]
        p, q = reference[reference > 0], quantized[reference > 0] / quantized.sum()
        return float(np.sum(p * np.log(p / q)))

    return cost


def best_even_range(cost: Cost, values: Values, tried: int = 800) -> tuple[float, float]:
    """Of ranges that reach as far on both sides, or begin at zero."""
    reach, both = float(np.abs(values).max()), bool(values.min() < 0)
    ends = reach * np.geomspace(0.01, 1, tried)
    best = ends[np.argmin([cost(-end if both else 0.0, end) for end in ends])]
    return (-best if both else 0.0), float(best)


def best_range(rough: Cost, cost: Cost, values: Values) -> tuple[float, float]:
    """By all pairs of rough fractions of the extremes, then by moving either end, ever less."""
    low, high = float(values.min()), float(values.max())
    fractions = np.geomspace(0.02, 1, 40)
    _, low_part, high_part = min((rough(low * a, high * b), a, b) for a in fractions for b in fractions)
    for width in (1.1, 1.1, 1.03, 1.01):
        near = np.geomspace(1 / width, width, 21)
        for _ in range(2):
            lows, highs = (np.unique(np.minimum(part * near, 1)) for part in (low_part, high_part))
            low_part = min(lows, key=lambda part: cost(low * part, high * high_part))
            high_part = min(highs, key=lambda part: cost(low * low_part, high * part))
    return low * low_part, high * high_part
