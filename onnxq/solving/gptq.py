"""Round column after column, and let the columns still open make up for the error (GPTQ; Frantar et al. 2022, arXiv
2210.17323, there by Cholesky factors of the inverse of ``H``).

The same without an inverse: with ``H + damping = L L^T``, ``d H d^T = sum_j (sum_{i>=j} d_i L[i,j])^2``, so from the
last column to the first each square is made as small as it can be (Babai's nearest plane):

    q_j = round(w_j + sum_{i>j} d_i L[i,j] / L[j,j]),    d = w - q

The columns that weigh most are last, which is first in turn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import RecipeError
from onnxq.solving.columns_first import BLOCK, across, combined, product, returned, turned
from onnxq.solving.grid import Matrix
from onnxq.solving.problem import Problem, Solution
from onnxq.solving.scale_search import Mse


@dataclass(frozen=True)
class Gptq:
    """``damping``: what is added to the diagonal of ``H``, as a share of its mean; ``search``: whether scales are
    searched first, as ``mse`` does, or are those of the grid."""

    damping: float = 0.01
    search: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 10:
            raise RecipeError(f"damping: {self.damping} is not 0 to 10")

    def __call__(self, problem: Problem) -> Solution:
        grid = Mse().grid(problem) if self.search else problem.grid
        weight = turned(problem.weight)
        scale, zero = (across(part, grid, weight.shape) for part in (grid.scale, grid.zero_point))
        integers = np.empty_like(weight)
        for columns, h in zip(problem.moments.slices, problem.moments.blocks, strict=True):
            part = weight[columns], scale[columns], zero[columns]
            integers[columns] = self._block(h, *part, grid.lowest, grid.highest)
        return Solution(returned(integers), grid)

    def _block(self, h: Matrix, weight: Matrix, scale: Matrix, zero: Matrix, lowest: int, highest: int) -> Matrix:
        order = np.argsort(np.diagonal(h, axis1=1, axis2=2), axis=1, kind="stable")
        factor = lower_factor(h, order, self.damping)
        by_column = order.T[:, :, None]
        ordered = np.take_along_axis(weight, by_column, 0)
        if scale.strides[0]:  # else all columns share it
            scale, zero = np.take_along_axis(scale, by_column, 0), np.take_along_axis(zero, by_column, 0)
        integers = nearest_plane(ordered, factor, scale, zero, lowest, highest)
        found = np.empty_like(integers)
        np.put_along_axis(found, by_column, integers, 0)
        return found


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


def nearest_plane(weight: Matrix, factor: Matrix, scale: Matrix, zero: Matrix, lowest: int, highest: int) -> Matrix:
    """The integers of the turned ``weight``, from its last column to its first."""
    integers, errors = np.empty_like(weight), np.empty_like(weight)
    carried = np.zeros_like(weight)  # sum_i d_i L[i,j] over the blocks behind
    inverse = 1 / np.diagonal(factor, axis1=1, axis2=2).T[:, :, None]
    end = len(weight)
    while end:
        start = max(0, end - BLOCK)
        for j in range(end - 1, start - 1, -1):
            carry = carried[j]
            if j + 1 < end:
                carry = carry + combined(factor[:, j + 1 : end, j], errors[j + 1 : end])
            target = weight[j] + carry * inverse[j]
            target /= scale[j]
            np.rint(target, out=target)
            target += zero[j]
            np.minimum(target, highest, out=target)
            np.maximum(target, lowest, out=integers[j])
            np.subtract(integers[j], zero[j], out=target)
            target *= scale[j]
            np.subtract(weight[j], target, out=errors[j])
        if start:
            carried[:start] += product(np.swapaxes(factor[:, start:end, :start], 1, 2), errors[start:end])
        end = start
    return integers
