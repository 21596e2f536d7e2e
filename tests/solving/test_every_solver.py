"""What holds for every solver, on every kind of grid."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from onnxq.second_moments import Moments
from onnxq.solving import SOLVERS, Nearest, Problem, Solution, chosen, solve
from random_problems import SHARED, brute_force, problem, problems

NAMES = list(SOLVERS)


def error(of: Problem, found: Solution) -> float:
    return float(of.error(found).sum())


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from(NAMES))
def test_none_errs_more_than_rounding_does(of: Problem, name: str) -> None:
    found = solve(of, chosen(name))
    assert error(of, found) <= error(of, Nearest()(of)) * (1 + 1e-9)
    assert found.integers.shape == of.weight.shape and found.integers.dtype == np.float64
    assert np.array_equal(found.integers, np.rint(found.integers))
    assert found.integers.min() >= of.grid.lowest and found.integers.max() <= of.grid.highest
    assert found.grid.scale.shape == found.grid.zero_point.shape == of.grid.scale.shape
    assert np.isfinite(found.grid.scale).all() and (found.grid.scale > 0).all()
    zero_point = found.grid.zero_point
    assert zero_point.min() >= of.grid.lowest and zero_point.max() <= of.grid.highest
    assert of.grid.zero_point.any() or not zero_point.any()  # a symmetric grid stays one


@settings(max_examples=15, deadline=None)
@given(problems(), st.sampled_from(NAMES))
def test_a_second_call_gives_the_same_bytes(of: Problem, name: str) -> None:
    one, two = solve(of, chosen(name)), solve(of, chosen(name))
    assert one.integers.tobytes() == two.integers.tobytes()
    assert one.grid.scale.tobytes() == two.grid.scale.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_bytes_do_not_depend_on_threads(name: str) -> None:
    of = problem((1, 96, 300), samples=900)
    with threadpool_limits(1):
        one = solve(of, chosen(name))
    with threadpool_limits(2):
        two = solve(of, chosen(name))
    assert one.integers.tobytes() == two.integers.tobytes()
    assert one.grid.scale.tobytes() == two.grid.scale.tobytes()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 4),
    st.integers(2, 3),
    st.booleans(),
    st.sampled_from(SHARED),
    st.sampled_from(sorted({"gptq", "coordinate_descent"} & set(NAMES))),
    st.integers(0, 99),
)
def test_on_one_grid_none_beats_brute_force(
    columns: int, bits: int, symmetric: bool, shared: str, name: str, seed: int
) -> None:
    of = problem((1, 2, columns), bits, symmetric=symmetric, shared=shared, seed=seed)
    found = solve(of, chosen(name))
    assert error(of, found) >= brute_force(replace(of, grid=found.grid)) * (1 - 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_moments_that_are_not_finite_leave_the_nearest_integers(name: str) -> None:
    of = problem()
    broken = replace(of, moments=Moments((np.full((1, 12, 12), np.inf),), 1))
    assert np.array_equal(solve(broken, chosen(name)).integers, Nearest()(of).integers)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1e-80, 1e70])
def test_moments_may_be_zero_or_of_any_size(name: str, scale: float) -> None:
    of = problem()
    sized = replace(of, moments=Moments(tuple(scale * h for h in of.moments.blocks), 40))
    found = solve(sized, chosen(name))
    if scale:
        assert np.array_equal(found.integers, solve(of, chosen(name)).integers)
    else:
        assert np.array_equal(found.integers, Nearest()(of).integers)


@pytest.mark.parametrize("name", NAMES)
def test_no_scale_is_below_the_floor(name: str) -> None:
    of = problem((1, 6, 24), 3)
    floor = 0.98 * of.grid.scale
    found = solve(replace(of, grid=replace(of.grid, floor=floor)), chosen(name))
    assert (found.grid.scale >= floor).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", SHARED)
def test_powers_of_two_stay_powers_of_two(name: str, shared: str) -> None:
    of = problem((2, 6, 24), 4, shared=shared)
    grid = replace(of.grid, powers=True)
    of = replace(of, grid=grid.with_scale(2 * grid.scale))
    found = solve(of, chosen(name))
    assert np.array_equal(np.log2(found.grid.scale), np.rint(np.log2(found.grid.scale)))
    assert error(of, found) <= error(of, Nearest()(of)) * (1 + 1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nearest"])
def test_correlated_inputs_are_made_use_of(name: str) -> None:
    of = problem((1, 32, 48), 3, samples=500)
    least = {"mse": 0.8}.get(name, 0.5)
    assert error(of, solve(of, chosen(name))) < least * error(of, Nearest()(of))
