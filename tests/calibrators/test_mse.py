"""The range that the MSE calibrator chooses is as good as the best that brute force finds on the data itself."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.calibrators import Mse
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, qparams, quantize
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

U8, I8 = Scheme(False, False), Scheme(True, True)
POWERS, LOG = (Scheme(True, True, steps=steps) for steps in (Steps.POWER_OF_TWO, Steps.LOGARITHMIC))
MIXED = ActivationSchemes(Scheme(False, True), I8, U8)


def error(values: NDArray[np.float32], scheme: Scheme, low: float, high: float) -> float:
    params = qparams(scheme, Range.of(low, high))
    return float(np.mean((dequantize(quantize(values, params), params) - values) ** 2, dtype=np.float64))


def least_error(values: NDArray[np.float32], scheme: Scheme) -> float:
    """Over 60 fractions of each end, or of both together on a symmetric grid."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    fractions = np.geomspace(0.01, 1, 60)
    if scheme.symmetric:
        reach = max(-low, high)
        return min(error(values, scheme, -reach * f, reach * f) for f in fractions)
    lows, highs = [{low * f for f in fractions}, {high * f for f in fractions}]
    return min(error(values, scheme, one, two) for one in lows for two in highs)


def laplace(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).laplace(size=size).astype(np.float32)


VALUES = {
    "normal": normal(4000),
    "laplace": laplace(4000),
    "relu": np.maximum(normal(4000), 0),
    "silu": normal(4000) / (1 + np.exp(-normal(4000))),
    "outlier": np.append(normal(4000), np.array(60, np.float32)),
    "shifted": normal(4000) + np.array(20, np.float32),
    "negative": -np.abs(laplace(4000)),
    "few": np.repeat(np.array([-1, 0, 0.25, 3], np.float32), 500),
}


@pytest.mark.parametrize("schemes", [*map(ActivationSchemes.always, (U8, I8, POWERS, LOG)), MIXED])
@pytest.mark.parametrize("name", VALUES)
def test_the_error_is_within_five_percent_of_the_least(name: str, schemes: ActivationSchemes) -> None:
    values = VALUES[name]
    found = Mse().range(TensorStatistics.of(values), schemes)
    scheme = schemes.of(Range.of(float(values.min()), float(values.max())))
    chosen = error(values, scheme, float(found.low), float(found.high))
    # Twice a thousandth of a step is nothing, where a grid happens to meet every value.
    assert chosen <= 1.05 * least_error(values, scheme) + (2e-3 * float(np.ptp(values)) / 255) ** 2


def test_the_range_lies_within_the_extremes() -> None:
    for values in VALUES.values():
        found = Mse().range(TensorStatistics.of(values), MIXED)
        reach = float(np.abs(values).max())
        assert -reach <= found.low <= found.high <= reach
