"""The scale search finds what a search without mercy does."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.solving import Grid, Mse, Nearest, Problem
from random_problems import SHARED, Matrix, problem


def weighted(of: Problem, integers: Matrix, grid: Grid) -> Matrix:
    return np.asarray((of.weight - grid.reals(integers)) ** 2 * of.diagonal)


def errors(of: Problem) -> Matrix:
    """Of the nearest integers, in the shape of the scales."""
    found = Nearest()(of)
    return of.grid.shared(weighted(of, found.integers, found.grid))


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize(("bits", "ratio"), [(2, 1.02), (4, 1.05), (8, 1.3)])  # the finer, the more ups and downs
def test_symmetric_grids_are_as_good_as_of_a_thousand(shared: str, bits: int, ratio: float) -> None:
    of = problem((2, 3, 24), bits, shared=shared)
    least = np.min(
        [errors(replace(of, grid=of.grid.with_scale(of.grid.scale * f))) for f in np.linspace(0.2, 1, 1000)], 0
    )
    found = errors(replace(of, grid=Mse().grid(of)))
    assert (found <= errors(of)).all()
    assert found.sum() <= ratio * least.sum()


@pytest.mark.parametrize("shared", SHARED)
def test_asymmetric_grids_are_cut_at_both_ends(shared: str) -> None:
    of = problem((2, 3, 48), 3, symmetric=False, shared=shared)
    both = [
        errors(replace(of, grid=cut(of, low, high)))
        for low in np.linspace(0.2, 1, 40)
        for high in np.linspace(0.2, 1, 40)
    ]
    found = errors(replace(of, grid=Mse().grid(of)))
    assert found.sum() <= 1.05 * np.min(both, 0).sum()


def cut(of: Problem, low: float, high: float) -> Grid:
    bottom, top = (
        low * (0 - of.grid.zero_point) * of.grid.scale,
        high * (of.grid.highest - of.grid.zero_point) * of.grid.scale,
    )
    scale = (top - bottom) / of.grid.highest
    return replace(of.grid, scale=scale, zero_point=np.clip(np.rint(-bottom / scale), 0, of.grid.highest))


def test_columns_count_by_what_they_read() -> None:
    of = problem((1, 1, 8), 3)
    of.weight[0, 0, 3] = 0.5 * of.weight.max()
    loud = np.zeros((1, 8, 8))
    loud[0, 3, 3] = 1.0
    of = replace(of, moments=replace(of.moments, blocks=(loud,)))
    by_h, plain = Mse()(of), Mse(weighted=False)(of)
    assert abs(by_h.reals - of.weight)[0, 0, 3] < 0.02 * abs(of.weight[0, 0, 3])
    assert ((plain.reals - of.weight) ** 2).sum() < ((by_h.reals - of.weight) ** 2).sum()


@pytest.mark.parametrize(
    ("options", "said"), [({"least": 0}, "least"), ({"least": 1.0}, "least"), ({"steps": 1}, "steps")]
)
def test_options_that_are_none(options: dict[str, float], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Mse(**options)  # type: ignore[arg-type]
