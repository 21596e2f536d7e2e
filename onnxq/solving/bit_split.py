"""Bit-split and stitching (Wang et al., ICML 2020): integers are split into ternary planes, ``Z = sum_m 2^m T_m`` with
each ``T_m`` of -1, 0 and 1; the planes are optimised in turn on the error of what the layer makes, from the most
significant one down, each weight alone while all others stay; then the scale in closed form, and again.

It starts from what is best for the weights themselves, as published. On an asymmetric grid, of which the paper has
none, the planes are of 0 and 1, counted from the lowest integer.
"""

from dataclasses import dataclass, replace

import numpy as np

from onnxq.errors import RecipeError
from onnxq.solving.columns_first import across
from onnxq.solving.descent import Descent, sweep
from onnxq.solving.grid import Grid, Matrix
from onnxq.solving.problem import Problem, Solution
from onnxq.solving.scale_search import Mse


@dataclass(frozen=True)
class BitSplit:
    """``rounds``: over all planes, at most; ``tolerance``: ends when a round takes away less than that share of the
    error."""

    rounds: int = 20
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= 1000:
            raise RecipeError(f"rounds: {self.rounds} is not 1 to 1000")
        if not 0 <= self.tolerance < 1:
            raise RecipeError(f"tolerance: {self.tolerance} is not at least 0 and below 1")

    def __call__(self, problem: Problem) -> Solution:
        problem = replace(problem, grid=_mirrored(problem.grid))
        state = Descent.of(problem, Mse(weighted=False)(problem))
        zero = across(state.grid.zero_point, state.grid, state.digits.shape)
        planes = _Planes.of(state.digits + zero, state.grid)
        error = state.error
        for _ in range(self.rounds):
            state.rescale()
            for index in reversed(range(len(planes.digits))):
                planes.sweep(index, state)
            state.digits = planes.stitched - zero
            before, error = error, state.error
            if before - error <= self.tolerance * before:
                break
        state.rescale()
        return state.solution


def _mirrored(grid: Grid) -> Grid:
    """Without the integer that has no counterpart above zero: ternary planes cannot make it."""
    spare = grid.lowest == -grid.highest - 1 and not grid.zero_point.any()
    return replace(grid, lowest=-grid.highest) if spare else grid


@dataclass(frozen=True)
class _Planes:
    """Integers are ``base + sum_m 2^m digits[m]``, the digits not below ``lowest`` and not above 1."""

    base: int
    lowest: int
    digits: Matrix

    @staticmethod
    def of(integers: Matrix, grid: Grid) -> "_Planes":
        """Raises RecipeError for a grid that is not of all integers of so many bits."""
        ternary = grid.lowest == -grid.highest
        base = 0 if ternary else grid.lowest
        count = (grid.highest - base).bit_length()
        if grid.highest - base != 2**count - 1:
            raise RecipeError(
                f"bit_split: a grid from {grid.lowest} to {grid.highest} is not of all integers of so many bits; "
                "take another solver."
            )
        magnitude = np.abs(integers - base).astype(np.int64)
        digits = np.stack([(magnitude >> index & 1) * np.sign(integers - base) for index in range(count)])
        return _Planes(base, -1 if ternary else 0, digits)

    @property
    def stitched(self) -> Matrix:
        powers = 2.0 ** np.arange(len(self.digits))
        return np.asarray(self.base + np.einsum("m,mcgo->cgo", powers, self.digits))

    def sweep(self, index: int, state: Descent) -> None:
        """Over the digits of one plane, which changes the residual of ``state``."""
        shape = state.digits.shape
        low, high = (np.broadcast_to(np.float64(end), shape) for end in (self.lowest, 1))
        sweep(self.digits[index], state.residual, 2.0**index * state.scale, low, high, state.moments)
