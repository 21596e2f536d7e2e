"""What a solver of weights is given and gives: integers ``Q`` on a grid, so that ``(W - Q) H (W - Q)^T`` is small.

``H`` are the second moments of what the layer reads (see ``second_moments``). Where the layer reads what layers before
it made of integers, ``W`` is not its own weight but the one that comes closest to the float layer on that (see
``target``): solvers need not know.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from onnxq.second_moments import Moments
from onnxq.solving.grid import Grid, Matrix


@dataclass(frozen=True)
class Problem:
    """``weight`` is [groups, outputs, columns], finite; the moments are of these groups and columns, in blocks.

    Moments that are not ``finite`` tell nothing: ``solve`` then rounds to nearest, and the caller is to say so.
    """

    weight: Matrix
    moments: Moments
    grid: Grid

    @cached_property
    def diagonal(self) -> Matrix:
        """Of ``H``: the mean square of each column times their number, [groups, 1, columns]."""
        return np.concatenate([np.diagonal(h, axis1=1, axis2=2) for h in self.moments.blocks], axis=1)[:, None]

    def error(self, solution: "Solution") -> Matrix:
        """``d H d^T`` of every row, [groups, outputs]."""
        return self.moments.error(self.weight - solution.reals)


@dataclass(frozen=True)
class Solution:
    """``integers`` [groups, outputs, columns], of the grid; a solver may have chosen other scales than it was given."""

    integers: Matrix
    grid: Grid

    @property
    def reals(self) -> Matrix:
        return self.grid.reals(self.integers)


class Solver(Protocol):
    """A frozen dataclass whose fields are its options."""

    def __call__(self, problem: Problem, /) -> Solution:
        """A good one; ``solve`` sees to it that it errs no more than the nearest integers on the given grid."""
