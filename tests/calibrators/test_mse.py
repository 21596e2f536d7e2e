"""The range that the MSE calibrator chooses is as good as the best that brute force finds on the data itself."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.calibrators import Mse
from onnxq.calibrators.rounding_error import NUDGE, RoundingError
from onnxq.nonlinear import FUNCTIONS, Function
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, dequantize, qparams, quantize
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal
from slow_references import best_even_range, best_range, rounding_error, statistics_of, values_of

U8, I8 = Scheme(False, False), Scheme(True, True)
POWERS, LOG = (Scheme(True, True, steps=steps) for steps in (Steps.POWER_OF_TWO, Steps.LOGARITHMIC))
MIXED = ActivationSchemes(Scheme(False, True), I8, U8)


def itself(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x


def error(values: NDArray[np.float32], scheme: Scheme, low: float, high: float, function: Function = itself) -> float:
    """Mean squared error of what ``function`` makes of the values on the grid of [low, high]."""
    params = qparams(scheme, Range.of(low, high))
    rounded = dequantize(quantize(values, params), params).astype(np.float64)
    return float(np.mean((function(rounded) - function(values.astype(np.float64))) ** 2))


def least_error(values: NDArray[np.float32], scheme: Scheme, function: Function = itself, tried: int = 60) -> float:
    """Over as many fractions of each end, or of both together on a symmetric grid."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    fractions = np.geomspace(0.01, 1, tried)
    if scheme.symmetric:
        reach = max(-low, high)
        return min(error(values, scheme, -reach * f, reach * f, function) for f in fractions)
    lows, highs = [{low * f for f in fractions}, {high * f for f in fractions}]
    return min(error(values, scheme, one, two, function) for one in lows for two in highs)


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
    scheme = schemes.of(found)  # as Calibrate takes it
    chosen = error(values, scheme, float(found.low), float(found.high))
    # Twice a thousandth of a step is nothing, where a grid happens to meet every value.
    assert chosen <= 1.05 * least_error(values, scheme) + (2e-3 * float(np.ptp(values)) / 255) ** 2


def test_the_range_lies_within_the_extremes() -> None:
    for values in VALUES.values():
        found = Mse().range(TensorStatistics.of(values), MIXED)
        reach = float(np.abs(values).max())
        assert -reach <= found.low <= found.high <= reach


BEHIND = {
    "normal": normal(1500, scale=3),
    "laplace": 4 * laplace(1500),
    "before an activation": 5 * laplace(1500) - np.array(4, np.float32),
    "long negative tail": np.append(normal(1500), np.linspace(-60, 0, 300).astype(np.float32)),
    "non-negative": np.abs(normal(1500)),
    "negative": -np.abs(normal(1500)),
}


@pytest.mark.parametrize("schemes", [ActivationSchemes(U8, U8, U8), MIXED])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", BEHIND)
def test_behind_an_activation_function_too(name: str, function: str, schemes: ActivationSchemes) -> None:
    values, through = BEHIND[name], FUNCTIONS[function]
    found = Mse().range(TensorStatistics.of(values), schemes, through)
    scheme = schemes.of(found)
    chosen = error(values, scheme, float(found.low), float(found.high), through)
    assert chosen <= 1.1 * least_error(values, scheme, through, 30) + (2e-3 * float(np.ptp(values)) / 255) ** 2


def test_what_the_function_squashes_gets_no_integers() -> None:
    values, schemes = BEHIND["long negative tail"], ActivationSchemes(U8, U8, U8)
    plain, behind = (Mse().range(TensorStatistics.of(values), schemes, f) for f in (None, FUNCTIONS["silu"]))
    assert plain.low < -40 and behind.low > -15
    errors = [error(values, U8, float(r.low), float(r.high), FUNCTIONS["silu"]) for r in (plain, behind)]
    assert errors[1] < errors[0] / 10


def test_a_lopsided_range_that_is_even_without_its_outlier_is_searched_on_an_even_grid() -> None:
    values = np.append(np.clip(normal(600000), -1, 1), np.array(2.2, np.float32))
    found = Mse().range(TensorStatistics.of(values), MIXED)
    assert MIXED.of(found) == I8 and MIXED.of(Range.of(-1, 2.2)) == U8
    assert error(values, I8, float(found.low), float(found.high)) <= 1.25 * least_error(values, I8)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_slopes_are_derivatives(function: str) -> None:
    values = np.sort(normal(200, scale=3)).astype(np.float64)
    sums = RoundingError(values, np.ones(200), FUNCTIONS[function])
    fine = NUDGE / 10
    exact = (FUNCTIONS[function](values + fine) - FUNCTIONS[function](values - fine)) / (2 * fine)
    np.testing.assert_allclose(np.diff(sums._sums[1]), exact**2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scheme", [I8, U8])
@pytest.mark.parametrize("name", ["heavy-tailed", "uniform", "bimodal", "half-normal"])
def test_the_range_is_the_one_that_brute_force_finds_on_the_values_to_one_percent(name: str, scheme: Scheme) -> None:
    values = values_of(name, 1_000_000)
    cost = rounding_error(values, scheme)
    if scheme.symmetric or values.min() > 0:
        expected = best_even_range(cost, values, 400)
    else:
        tails = np.partition(values, (500, -500))
        rough = rounding_error(np.concatenate([tails[:500:50], values[::50], tails[-500::50]]), scheme)
        expected = best_range(rough, cost, values)
    found = Mse().range(statistics_of(values), ActivationSchemes.always(scheme))
    assert (min(float(found.low), 0.0), float(found.high)) == pytest.approx(expected, rel=0.01)
