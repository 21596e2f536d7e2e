"""Grids of what is known."""

import numpy as np
import pytest

from onnxq.constants import best_grid, reach
from onnxq.scheme import Scheme, Steps, dequantize, quantize
from onnxq.testing import normal

POWERS = Scheme(True, True, steps=Steps.POWER_OF_TWO)
U8 = Scheme(False, False)


def error(values: np.ndarray, scheme: Scheme) -> float:
    params = best_grid(values, scheme, reach(values, scheme))
    return float(np.sum((dequantize(quantize(values, params), params) - values) ** 2))


def test_an_asymmetric_grid_reaches_from_the_least_to_the_greatest() -> None:
    values = np.array([[-1, 3], [2, 4], [-5, -1], [0, 0]], np.float32)
    found = reach(values, U8.along(0))
    assert found.low.tolist() == [-1, 0, -5, -5]
    assert found.high.tolist() == [3, 4, 0, 4]
    whole = reach(values, U8)
    assert (float(whole.low), float(whole.high)) == (-5, 4)
    skewed = np.abs(normal(1000)) - np.float32(0.1)
    assert error(skewed, U8) < 0.35 * error(skewed, Scheme(True, True))


@pytest.mark.parametrize(("largest", "scale"), [(127.0, 1.0), (128.0, 2.0), (64.0, 1.0)])
def test_a_power_of_two_holds_the_largest_value(largest: float, scale: float) -> None:
    values = np.full(100, largest, np.float32)  # every one would be clipped by a narrower grid
    assert best_grid(values, POWERS, reach(values, POWERS)).scale == scale


def test_a_power_of_two_is_narrower_where_that_errs_less() -> None:
    values = np.concatenate([normal(10000), [4.2]]).astype(np.float32)
    narrow = best_grid(values, POWERS, reach(values, POWERS))
    assert narrow.scale == 2**-5  # 2^-4 holds 7.9, 2^-5 holds 3.97
    both = best_grid(np.stack([values, np.full_like(values, 4.2)]), POWERS.along(0), reach(values, POWERS))
    assert both.scale.tolist() == [2**-5, 2**-4]
