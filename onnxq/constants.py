"""The grid of values that are known: weights and biases."""

import numpy as np
from numpy.typing import NDArray

from onnxq.scheme import QParams, Range, Scheme, Steps, dequantize, qparams, quantize


def reach(values: NDArray[np.float32], scheme: Scheme) -> Range:
    """The extremes, per channel or block where the grid is; zero and, for a symmetric grid, their negatives included.

    A channel of nothing but zeros takes those of its neighbours: any is exact for it, but not for its bias.
    """
    low = np.minimum(np.asarray(over(np.minimum, values, scheme), np.float64), 0)
    high = np.maximum(np.asarray(over(np.maximum, values, scheme), np.float64), 0)
    if scheme.symmetric:
        high = np.maximum(-low, high)
        low = -high
    dead = low == high
    return Range(np.where(dead, np.min(low, initial=0), low), np.where(dead, np.max(high, initial=0), high))


def best_grid(values: NDArray[np.float32], scheme: Scheme, found: Range) -> QParams:
    """The grid of ``found``, or one half as wide where the scale is a power of two and that one errs less."""
    params = qparams(scheme, found)
    if scheme.steps is not Steps.POWER_OF_TWO:
        return params
    halved = qparams(scheme, Range(found.low / 2, found.high / 2))
    better = _error(values, halved) < _error(values, params)
    return QParams(
        scheme,
        np.where(better, halved.scale, params.scale),
        np.where(better, halved.zero_point, params.zero_point),
    )


def _error(values: NDArray[np.float32], params: QParams) -> NDArray[np.float64]:
    """Summed squared error, per channel or block where the grid is."""
    error = (dequantize(quantize(values, params), params).astype(np.float64) - values) ** 2
    return np.asarray(over(np.add, error, params.scheme))


def over(ufunc: np.ufunc, values: NDArray[np.floating], scheme: Scheme) -> NDArray[np.floating]:
    """``ufunc`` reduced over all values that share a scale; 0 is among them, so that nothing has extremes too."""
    if scheme.block and scheme.axis is not None:
        starts = np.arange(0, values.shape[scheme.axis], scheme.block)
        return np.asarray(ufunc.reduceat(values, starts, axis=scheme.axis))
    others = None if scheme.axis is None else tuple(a for a in range(values.ndim) if a != scheme.axis)
    return np.asarray(ufunc.reduce(values, axis=others, initial=0))
