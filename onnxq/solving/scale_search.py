"""The grid with the least error of the nearest integers, searched for all that shares a scale.

The error of a column counts by its mean square, the diagonal of ``H``: what the errors of columns have in common is
left to solvers that choose integers. A grid with zero points is cut at both ends, then at each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import RecipeError
from onnxq.scheme import SMALLEST_SCALE
from onnxq.solving.grid import Grid, Matrix
from onnxq.solving.problem import Problem, Solution

Floats = NDArray[np.floating]
TILE = 1 << 15  # weights that are rounded at a time, and stay in the cache meanwhile
BETWEEN = 3  # shares that are tried between two neighbours
BOTH, LOW, HIGH = (True, True), (True, False), (False, True)


@dataclass(frozen=True)
class Mse:
    """``weighted``: by the diagonal of ``H``, or all columns count alike; ``least``: the smallest share of the grid's
    reach that is tried; ``steps``: how many shares are tried from there up to the whole, before those between the best
    and its neighbours."""

    weighted: bool = True
    least: float = 0.3
    steps: int = 14

    def __post_init__(self) -> None:
        if not 0 < self.least < 1:
            raise RecipeError(f"least: {self.least} is not between 0 and 1")
        if not 2 <= self.steps <= 1000:
            raise RecipeError(f"steps: {self.steps} is not 2 to 1000")

    def __call__(self, problem: Problem) -> Solution:
        grid = self.grid(problem)
        return Solution(grid.nearest(problem.weight), grid)

    def grid(self, problem: Problem) -> Grid:
        """The best grid, which is the given one where none is better."""
        step = (1 - self.least) / self.steps
        coarse = 1 - step * np.arange(1, self.steps + 1)
        fine = step * np.delete(np.linspace(-1, 1, 2 * BETWEEN + 3), BETWEEN + 1)[1:-1]
        cuts = _Cuts(problem, problem.diagonal if self.weighted else np.ones_like(problem.diagonal))
        alone = (LOW, HIGH) if problem.grid.zero_point.any() else ()
        for ends in (BOTH, *alone, *alone):
            cuts.move(ends, coarse)
        for ends in (BOTH, *alone):
            cuts.move(ends, fine, beside=True)
        return cuts.best


class _Cuts:
    """Grids that reach a share of what the given one does, at the low and at the high end; the best so far."""

    def __init__(self, problem: Problem, importance: Matrix) -> None:
        self._weight, self._given = problem.weight, problem.grid
        self._root = np.sqrt(importance / max(float(importance.max(initial=0)), SMALLEST_SCALE))
        self.best, self._error = self._given, self._error_of(self._given)
        self._shares = np.ones((2, *self.best.scale.shape))  # at the low end and at the high one

    def move(self, ends: tuple[bool, bool], shares: Floats, beside: bool = False) -> None:
        """Move these ends to each of the shares, or ``beside`` where they are by so much, and stay where it is best."""
        before = self._shares
        moved = np.array(ends)[:, None, None, None]
        for share in shares:
            tried = np.where(moved, np.clip(beside * before + share, 0.01, 1), before)
            grid = self._cut(*tried)
            error = self._error_of(grid)
            better = error < self._error
            self._error = np.where(better, error, self._error)
            self._shares = np.where(better, tried, self._shares)
            scale = np.where(better, grid.scale, self.best.scale)
            self.best = replace(
                self.best, scale=scale, zero_point=np.where(better, grid.zero_point, self.best.zero_point)
            )

    def _cut(self, low: Matrix, high: Matrix) -> Grid:
        given = self._given
        bottom = low * (given.lowest - given.zero_point)
        width = (high * (given.highest - given.zero_point) - bottom) / (given.highest - given.lowest)
        grid = given.with_scale(given.scale * width)
        if not given.zero_point.any():
            return grid
        zero = np.rint(given.lowest - bottom * (given.scale / grid.scale))
        return replace(grid, zero_point=np.clip(zero, given.lowest, given.highest))

    def _error_of(self, grid: Grid) -> Matrix:
        """Of the nearest integers, summed over what shares a scale."""
        groups, outputs, columns = self._weight.shape
        shape = groups, outputs, grid.scale.shape[2]
        scale, zero = np.broadcast_to(grid.scale, shape), np.broadcast_to(grid.zero_point, shape)
        found = np.empty(shape)
        for tile in _tiles(groups, outputs, columns):
            steps, zeros = (grid.spread(part[tile], columns) for part in (scale, zero))
            exact = self._weight[tile] / steps
            error = np.rint(exact)
            np.maximum(error, grid.lowest - zeros, out=error)
            np.minimum(error, grid.highest - zeros, out=error)
            error -= exact
            error *= self._root[tile[0]]
            found[tile] = _squares(error, grid.block) * scale[tile] ** 2
        return grid.over_rows(found)


def _tiles(groups: int, outputs: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Some groups, or some outputs of one group, at a time."""
    many = max(1, TILE // (outputs * columns))
    some = max(1, TILE // columns)
    for group in range(0, groups, many):
        for output in range(0, outputs, some):
            yield slice(group, group + many), slice(output, output + some)


def _squares(error: Matrix, block: int) -> Matrix:
    """Their sums over the columns that share a scale."""
    if not block:
        return np.asarray(np.einsum("goc,goc->go", error, error))[:, :, None]
    return np.asarray(np.add.reduceat(error * error, np.arange(0, error.shape[2], block), axis=2))
