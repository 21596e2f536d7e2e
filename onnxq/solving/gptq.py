"""Round column after column, and let the columns still open make up for the error (GPTQ; Frantar et al. 2022, arXiv
2210.17323, there by Cholesky factors of the inverse of ``H``).

The same without an inverse: with ``H + damping = L L^T``, ``d H d^T = sum_j (sum_{i>=j} d_i L[i,j])^2``, so from the
last column to the first each square is made as small as it can be (Babai's nearest plane):

    q_j = round(w_j + sum_{i>j} d_i L[i,j] / L[j,j]),    d = w - q

The columns that weigh most are last, which is first in turn. One ``L`` serves many grids, so scales around those that
the search found are tried as well; each row keeps the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import RecipeError
from onnxq.solving.columns_first import BLOCK, across, combined, product, returned, turned
from onnxq.solving.grid import Grid, Matrix
from onnxq.solving.problem import Problem, Solution
from onnxq.solving.scale_search import Mse

AROUND = 0.2  # scales are tried up to so much smaller and larger
TOGETHER = 1 << 20  # weights that are rounded side by side


@dataclass(frozen=True)
class Gptq:
    """``damping``: what is added to the diagonal of ``H``, as a share of its mean; ``search``: whether it starts from
    the scales that ``mse`` finds, or from those of the grid; ``scales``: how many it tries, evenly around these; 1 as
    published."""

    damping: float = 0.01
    search: bool = True
    scales: int = 9

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 10:
            raise RecipeError(f"damping: {self.damping} is not 0 to 10")
        if not (1 <= self.scales <= 99 and self.scales % 2):
            raise RecipeError(f"scales: {self.scales} is not an odd number from 1 to 99")

    def __call__(self, problem: Problem) -> Solution:
        grid = Mse().grid(problem) if self.search else problem.grid
        around = np.linspace(1 - AROUND, 1 + AROUND, self.scales) if self.scales > 1 else ()
        grids = [grid, *(grid.with_scale(grid.scale * factor) for factor in around if factor != 1)]
        weight = turned(problem.weight)
        tried = np.empty((len(grids), *weight.shape), np.int16)
        errors = np.zeros((len(grids), *weight.shape[1:], 1))
        many = max(1, TOGETHER // weight.size)
        for columns, h in zip(problem.moments.slices, problem.moments.blocks, strict=True):
            planes = _Planes.of(h, self.damping)
            for start in range(0, len(grids), many):
                some = slice(start, start + many)
                found, error = planes.nearest(weight, columns, grids[some])
                tried[some, columns] = found
                errors[some] += error
        return _best(grids, tried, errors)


def _best(grids: Sequence[Grid], tried: NDArray[np.int16], errors: Matrix) -> Solution:
    """Of rows that share a scale the one that errs least, [grids, ...] being what each grid came to."""
    winner = np.argmin([grids[0].over_rows(error) for error in errors], axis=0)[None]
    scale = np.take_along_axis(np.array([grid.scale for grid in grids]), winner, 0)[0]
    by_row = np.broadcast_to(np.moveaxis(winner, 3, 1), (1, 1, *tried.shape[2:]))
    integers = np.take_along_axis(tried, by_row, 0)[0].astype(np.float64)
    return Solution(returned(integers), replace(grids[0], scale=scale))


@dataclass(frozen=True)
class _Planes:
    """``factor`` is ``L`` of columns in the ``order`` of each group, [groups, columns, columns]."""

    order: NDArray[np.intp]
    factor: Matrix

    @staticmethod
    def of(h: Matrix, damping: float) -> "_Planes":
        order = np.argsort(np.diagonal(h, axis1=1, axis2=2), axis=1, kind="stable")
        return _Planes(order, lower_factor(h, order, damping))

    def nearest(self, weight: Matrix, columns: slice, grids: Sequence[Grid]) -> tuple[Matrix, Matrix]:
        """Integers of these columns of the turned ``weight`` on every grid, [grids, columns, groups, outputs], and the
        error of every row, [grids, groups, outputs, 1]."""
        rows = self._ordered(np.tile(weight[columns], (1, 1, len(grids))))
        scale = self._side_by_side([across(grid.scale, grid, weight.shape)[columns] for grid in grids])
        zero = self._side_by_side([across(grid.zero_point, grid, weight.shape)[columns] for grid in grids])
        integers, error = nearest_plane(rows, self.factor, scale, zero, grids[0].lowest, grids[0].highest)
        found = np.empty_like(integers)
        np.put_along_axis(found, self.order.T[:, :, None], integers, 0)
        return np.array(np.split(found, len(grids), 2)), np.array(np.split(error, len(grids), 1))[..., None]

    def _ordered(self, turned: Matrix) -> Matrix:
        return np.take_along_axis(turned, self.order.T[:, :, None], 0)

    def _side_by_side(self, parts: Sequence[Matrix]) -> Matrix:
        if parts[0].strides[0]:
            return self._ordered(np.concatenate(parts, 2))
        shared = np.concatenate([part[:1] for part in parts], 2)
        return np.broadcast_to(shared, (len(parts[0]), *shared.shape[1:]))


def lower_factor(h: Matrix, order: NDArray[np.intp], damping: float) -> Matrix:
    """``L`` of the damped ``H`` in that order of the columns, [groups, columns, columns]. Where rounding has left
    ``H`` with negative eigenvalues, it is damped as much more as needed."""
    if len(h) == 1:
        ordered = h[:, order[0][:, None], order[0]]
    else:
        ordered = np.take_along_axis(np.take_along_axis(h, order[:, :, None], 1), order[:, None, :], 2)
    mean = np.diagonal(h, axis1=1, axis2=2).mean(1)
    mean = np.where(mean > 0, mean, 1.0)[:, None]
    diagonal = np.einsum("gcc->gc", ordered)
    added = 0.0
    while True:
        diagonal += (damping - added) * mean
        try:
            return np.asarray(np.linalg.cholesky(ordered), np.float64)
        except np.linalg.LinAlgError:
            damping, added = max(10 * damping, 1e-9), damping


def nearest_plane(
    weight: Matrix, factor: Matrix, scale: Matrix, zero: Matrix, lowest: int, highest: int
) -> tuple[Matrix, Matrix]:
    """The integers of the turned ``weight``, from its last column to its first, and what each row errs by, damping
    included."""
    integers, errors = np.empty_like(weight), np.empty_like(weight)
    carried = np.zeros_like(weight)  # sum_i d_i L[i,j] over the blocks behind
    total = np.zeros(weight.shape[1:])
    length = np.ascontiguousarray(np.diagonal(factor, axis1=1, axis2=2).T[:, :, None])
    inverse = 1 / length
    end = len(weight)
    while end:
        start = max(0, end - BLOCK)
        for j in range(end - 1, start - 1, -1):
            carry = carried[j]
            if j + 1 < end:
                carry += combined(factor[:, j + 1 : end, j], errors[j + 1 : end])
            real, rounded = carry * inverse[j], integers[j]
            real += weight[j]
            np.divide(real, scale[j], out=rounded)
            np.rint(rounded, out=rounded)
            rounded += zero[j]
            np.minimum(rounded, highest, out=rounded)
            np.maximum(rounded, lowest, out=rounded)
            np.subtract(rounded, zero[j], out=errors[j])
            errors[j] *= scale[j]
            real -= errors[j]
            np.subtract(weight[j], errors[j], out=errors[j])
            real *= length[j]
            real *= real
            total += real
        if start:
            carried[:start] += product(np.swapaxes(factor[:, start:end, :start], 1, 2), errors[start:end])
        end = start
    return integers, total
