"""Bit-split: planes of digits that are improved in turn."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.solving import BitSplit, CoordinateDescent, Mse
from random_problems import SHARED, problem


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_it_is_better_than_where_it_starts(shared: str, symmetric: bool) -> None:
    of = problem((2, 8, 32), 4, shared=shared, symmetric=symmetric, samples=200, parts=(20, 12))
    start = of.error(Mse(weighted=False)(of)).sum()
    assert of.error(BitSplit()(of)).sum() < (0.8 if symmetric else 0.95) * start  # digits 0 and 1 have less choice


@pytest.mark.parametrize("bits", [3, 8])
def test_more_rounds_are_not_worse(bits: int) -> None:
    of = problem((1, 4, 24), bits, samples=100)
    errors = [of.error(BitSplit(rounds=rounds, tolerance=0)(of)).sum() for rounds in (1, 2, 5)]
    assert errors[2] <= errors[1] * (1 + 1e-9) <= errors[0] * (1 + 2e-9)


def test_with_two_bits_it_is_coordinate_descent() -> None:
    of = problem((1, 8, 24), 2, samples=100)
    other = CoordinateDescent(start={"mse": {"weighted": False}}, sweeps=50, tolerance=0)(of)
    assert np.array_equal(BitSplit(rounds=50, tolerance=0)(of).integers, other.integers)


def test_a_grid_that_has_no_such_planes_is_refused() -> None:
    of = problem()
    with pytest.raises(RecipeError, match="from -5 to 5 is not of all integers of so many bits"):
        BitSplit()(replace(of, grid=replace(of.grid, lowest=-5, highest=5)))


@pytest.mark.parametrize(("options", "said"), [({"rounds": 0}, "rounds: 0"), ({"tolerance": -1}, "tolerance: -1")])
def test_options_that_are_none(options: dict[str, float], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        BitSplit(**options)  # type: ignore[arg-type]


def test_planes_make_what_has_a_counterpart_above_zero() -> None:
    of = problem((1, 8, 24), 4, samples=100)
    wider = replace(of, grid=replace(of.grid, lowest=-8))
    assert np.array_equal(BitSplit()(wider).integers, BitSplit()(of).integers)
