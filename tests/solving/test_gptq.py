"""GPTQ without an inverse is GPTQ."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from onnxq.errors import RecipeError
from onnxq.second_moments import Moments
from onnxq.solving import Gptq, Mse, Problem
from random_problems import SHARED, Matrix, problem, problems

DAMPING = 0.01
FIVE = (1.0, 0.8, 0.9, 1.1, 1.2)


def by_the_inverse(of: Problem) -> Matrix:
    """As the paper writes it (section 3.2), row by row and without blocks: each error is spread over the columns still
    open by the inverse of what is left of the damped ``H``."""
    found = np.empty_like(of.weight)
    for columns, h in zip(of.moments.slices, of.moments.blocks, strict=True):
        for group, output in np.ndindex(of.weight.shape[:2]):
            found[group, output, columns] = _row(of, h[group], columns, group, output)
    return found


def _row(of: Problem, h: Matrix, columns: slice, group: int, output: int) -> Matrix:
    row = of.weight[group, output, columns].copy()
    scale, zero = (
        np.broadcast_to(part, of.weight.shape)[group, output, columns]
        for part in of.grid.of(slice(None), of.weight.shape[2])
    )
    inverse = np.linalg.inv(h + DAMPING * np.diag(h).mean() * np.eye(len(h)))
    integers = np.empty_like(row)
    for j in np.argsort(np.diag(h), kind="stable")[::-1]:
        integers[j] = np.clip(np.rint(row[j] / scale[j]) + zero[j], of.grid.lowest, of.grid.highest)
        error = (row[j] - (integers[j] - zero[j]) * scale[j]) / inverse[j, j]
        row -= error * inverse[j]
        inverse -= np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
        inverse[j, j] = 1.0  # done; no column reads it again
    return integers


@settings(max_examples=40, deadline=None)
@given(problems())
def test_it_is_the_papers(of: Problem) -> None:
    if any((np.diagonal(h, axis1=1, axis2=2).mean(1) == 0).any() for h in of.moments.blocks):
        return  # nothing that could be inverted
    assert np.array_equal(Gptq(damping=DAMPING, search=False, scales=1)(of).integers, by_the_inverse(of))


def test_it_is_the_papers_across_blocks() -> None:
    of = problem((1, 5, 200), samples=400)
    assert np.array_equal(Gptq(damping=DAMPING, search=False, scales=1)(of).integers, by_the_inverse(of))


def test_scales_are_those_of_the_search_or_of_the_grid() -> None:
    of = problem((1, 6, 30), 3)
    assert np.array_equal(Gptq(scales=1)(of).grid.scale, Mse().grid(of).scale)
    assert np.array_equal(Gptq(search=False, scales=1)(of).grid.scale, of.grid.scale)


def test_moments_that_rounding_left_indefinite_are_damped_more() -> None:
    of = problem((1, 3, 8))
    h = of.moments.blocks[0] - 0.2 * np.trace(of.moments.blocks[0][0]) * np.outer(*2 * [np.ones(8) / np.sqrt(8)])
    assert np.linalg.eigvalsh(h[0])[0] < 0
    assert np.isfinite(Gptq()(replace(of, moments=Moments((h,), 1))).integers).all()


@pytest.mark.parametrize(
    "options", [{"damping": -0.1}, {"damping": 11}, {"damping": float("nan")}, {"scales": 0}, {"scales": 4}]
)
def test_options_that_are_none(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        Gptq(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("symmetric", [True, False])
def test_of_many_scales_every_row_takes_the_best(shared: str, symmetric: bool) -> None:
    of = problem((2, 5, 24), 3, shared=shared, symmetric=symmetric, samples=200)
    solver = Gptq(damping=0, search=False, scales=5)
    every = [
        Gptq(damping=0, search=False, scales=1)(replace(of, grid=of.grid.with_scale(of.grid.scale * f))) for f in FIVE
    ]
    least = np.min([of.grid.over_rows(of.error(one)[:, :, None]) for one in every], axis=0)
    found = of.grid.over_rows(of.error(solver(of))[:, :, None])
    np.testing.assert_allclose(found, least, rtol=1e-5)


def test_scales_tried_side_by_side_are_those_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    of = problem((2, 5, 24), 3)
    together = Gptq()(of)
    monkeypatch.setattr("onnxq.solving.gptq.TOGETHER", 1)
    assert np.array_equal(Gptq()(of).integers, together.integers)
