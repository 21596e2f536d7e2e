"""AdaRound learns which way to round."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.second_moments import Moments
from onnxq.solving import AdaRound, Mse
from random_problems import SHARED, problem


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_weight_goes_down_or_up(shared: str, symmetric: bool) -> None:
    of = problem((2, 5, 16), 4, shared=shared, symmetric=symmetric, samples=100)
    found = AdaRound(steps=300)(of)
    scale, zero = found.grid.of(slice(None), 16)
    assert np.array_equal(found.grid.scale, Mse().grid(of).scale)
    exact = np.clip(of.weight / scale + zero, found.grid.lowest, found.grid.highest)
    assert (abs(found.integers - exact) <= 1).all()
    assert of.error(found).sum() < 0.95 * of.error(Mse()(of)).sum()


def test_without_correlation_it_rounds_to_nearest() -> None:
    of = problem((1, 4, 12))
    alone = replace(of, moments=Moments((np.eye(12)[None],), 12))
    assert np.array_equal(AdaRound(steps=300)(alone).integers, Mse()(alone).integers)


@pytest.mark.parametrize("name", ["steps", "rate", "regularisation"])
@pytest.mark.parametrize("value", [0, -1, 10**9])
def test_options_that_are_none(name: str, value: int) -> None:
    with pytest.raises(RecipeError, match=name):
        AdaRound(**{name: value})
