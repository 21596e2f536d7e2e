"""The range of the least ``|error|^p``, and what p does."""

import numpy as np
import pytest

from onnxq.calibrators import Lp, Mse
from onnxq.errors import RecipeError
from onnxq.nonlinear import FUNCTIONS
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.testing import normal
from slow_references import best_even_range, rounding_error, statistics_of, values_of

U8, I8 = Scheme(False, False), Scheme(True, True)


@pytest.mark.parametrize("name", ["heavy-tailed", "uniform", "bimodal", "half-normal"])
@pytest.mark.parametrize("p", [1.0, 2.4, 4.0])
def test_the_range_is_the_one_that_brute_force_finds_on_the_values(name: str, p: float) -> None:
    values = values_of(name, 300_000)
    cost = rounding_error(values, I8, p)
    low, high = best_even_range(cost, values, 250)
    found = Lp(p).range(statistics_of(values), ActivationSchemes.always(I8))
    assert found.high == pytest.approx(high, rel=0.03)
    assert cost(float(found.low), float(found.high)) <= 1.01 * cost(low, high)


@pytest.mark.parametrize("scheme", [U8, I8])
@pytest.mark.parametrize("through", [None, FUNCTIONS["silu"]])
def test_two_is_the_mean_squared_error(scheme: Scheme, through: None) -> None:
    statistics, schemes = statistics_of(normal(100, 1000)), ActivationSchemes.always(scheme)
    assert Lp(2.0).range(statistics, schemes, through) == Mse().range(statistics, schemes, through)


def test_the_greater_p_the_less_is_clipped_on_both_ends() -> None:
    statistics = statistics_of(normal(1000, 1000))
    found = [Lp(p).range(statistics, ActivationSchemes.always(U8)) for p in (1.0, 2.0, 2.4, 4.0, 8.0)]
    assert np.all(np.diff([float(each.high) for each in found]) > 0)
    assert np.all(np.diff([float(each.low) for each in found]) < 0)


@pytest.mark.parametrize("p", [0.0, -1.0, 17.0, float("nan")])
def test_a_power_that_is_none_is_refused(p: float) -> None:
    with pytest.raises(RecipeError, match=r"p: .* is not 0\.5 to 16"):
        Lp(p)
