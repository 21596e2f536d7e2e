"""Coordinate descent ends where no integer and no scale alone can be better."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from onnxq.errors import RecipeError
from onnxq.solving import CoordinateDescent, Problem, Solution, chosen
from random_problems import SHARED, brute_force, problem, problems


def error(of: Problem, found: Solution) -> float:
    return float(of.error(found).sum())


@settings(max_examples=40, deadline=None)
@given(problems())
def test_each_sweep_is_better_than_the_one_before(of: Problem) -> None:
    start = CoordinateDescent().starter(of)
    errors = [error(of, start)]
    errors += [error(of, CoordinateDescent(sweeps=sweeps, tolerance=0)(of)) for sweeps in (1, 2, 5)]
    for one, next_one in pairwise(errors):
        assert next_one <= one * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_no_change_of_one_integer_or_scale_is_better_in_the_end(shared: str, symmetric: bool) -> None:
    of = problem((2, 3, 10), 3, symmetric=symmetric, shared=shared, parts=(6, 4))
    found = CoordinateDescent(sweeps=100, tolerance=0)(of)
    least = error(of, found)
    for place in np.ndindex(of.weight.shape):
        for by in (-1, 1):
            integers = found.integers.copy()
            integers[place] = np.clip(integers[place] + by, of.grid.lowest, of.grid.highest)
            assert error(of, Solution(integers, found.grid)) >= least * (1 - 1e-6)
    for place in np.ndindex(of.grid.scale.shape):
        for factor in (0.999, 1.001):
            scale = found.grid.scale.copy()
            scale[place] *= factor
            assert error(of, Solution(found.integers, replace(found.grid, scale=scale))) >= least * (1 - 1e-6)


def test_on_tiny_problems_it_is_mostly_the_best_there_is() -> None:
    solver = CoordinateDescent(scales=False, start={"gptq": {"search": False, "scales": 1}})
    many = [problem((1, 1, 3), 3, seed=seed) for seed in range(40)]
    reached = [error(of, solver(of)) <= brute_force(of) * (1 + 1e-9) for of in many]
    assert np.mean(reached) >= 0.8


def test_scales_stay_where_they_are_told_to() -> None:
    of = problem()
    found = CoordinateDescent(start="nearest", scales=False)(of)
    assert np.array_equal(found.grid.scale, of.grid.scale)
    assert error(of, found) < error(of, chosen("nearest")(of))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sweeps": 0}, "sweeps: 0"),
        ({"tolerance": 1}, "tolerance: 1"),
        ({"start": "gptk"}, "start: unknown solver 'gptk'. Did you mean 'gptq'"),
        ({"start": {"gptq": {"dumping": 1}}}, "start: gptq: unknown field 'dumping'"),
        ({"start": {}}, "start: one solver is wanted"),
    ],
)
def test_options_that_are_none(options: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        CoordinateDescent(**options)  # type: ignore[arg-type]
