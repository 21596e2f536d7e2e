"""Coordinate descent on ``(W - s Z) H (W - s Z)^T``, ``Z`` being integers less their zero points.

Each integer in turn becomes the best while all others stay: with ``R = (W - s Z) H`` that is ``z_j + R_j / (H_jj s)``,
rounded and clipped. Each scale becomes the one that suits the integers best, ``s = (W H Z^T) / (Z H Z^T)``, both summed
over what shares it. Neither can raise the error.

All matrices are turned (see ``columns_first``). ``R`` is kept up to date: inside of a block of columns when a column's
turn comes, behind it by one product of matrices.
"""

from dataclasses import dataclass, replace

import numpy as np

from onnxq.second_moments import Moments
from onnxq.solving.columns_first import BLOCK, across, combined, product, returned, turned
from onnxq.solving.grid import Grid, Matrix
from onnxq.solving.problem import Problem, Solution

DEAD = 1e-30  # of the largest mean square: what a column does that has less is rounding error


def times(rows: Matrix, moments: Moments) -> Matrix:
    """``rows H``."""
    parts = zip(moments.slices, moments.blocks, strict=True)
    return np.concatenate([product(h, rows[columns]) for columns, h in parts])


def sweep(digits: Matrix, residual: Matrix, step: Matrix, low: Matrix, high: Matrix, moments: Moments) -> None:
    """Once over all columns: changes ``digits``, of which one more adds ``step`` to the weight and which lie between
    ``low`` and ``high``, and with them ``residual``."""
    for columns, h in zip(moments.slices, moments.blocks, strict=True):
        diagonal = np.diagonal(h, axis1=1, axis2=2).T[:, :, None]
        alive = diagonal > DEAD * diagonal.max(0)
        inverse = np.divide(1, diagonal, out=np.zeros(diagonal.shape), where=alive)
        for start in range(0, len(diagonal), BLOCK):
            end = min(start + BLOCK, len(diagonal))
            block = slice(columns.start + start, columns.start + end)
            parts = (each[block] for each in (digits, residual, step, low, high))
            moved = _block(h[:, start:end, start:end], inverse[start:end], *parts)
            if moved.any():
                residual[columns] -= product(h[:, :, start:end], moved)


def _block(
    h: Matrix, inverse: Matrix, digits: Matrix, residual: Matrix, step: Matrix, low: Matrix, high: Matrix
) -> Matrix:
    """A sweep over a few columns; gives what was added to the weight."""
    moved = np.empty_like(digits)
    for j, digit in enumerate(digits):
        best = residual[j] - combined(h[:, j, :j], moved[:j])
        best *= inverse[j]
        best /= step[j]
        best += digit
        np.rint(best, out=best)
        np.maximum(best, low[j], out=best)
        np.minimum(best, high[j], out=best)
        np.subtract(best, digit, out=moved[j])
        moved[j] *= step[j]
        digits[j] = best
    return moved


@dataclass
class Descent:
    """Integers less their zero points, and their grid, on the way down. ``exact`` is ``W H``."""

    weight: Matrix
    moments: Moments
    grid: Grid
    digits: Matrix
    exact: Matrix
    residual: Matrix

    @staticmethod
    def of(problem: Problem, start: Solution) -> "Descent":
        weight = turned(problem.weight)
        digits = turned(start.integers) - across(start.grid.zero_point, start.grid, weight.shape)
        exact = times(weight, problem.moments)
        found = Descent(weight, problem.moments, start.grid, digits, exact, exact)
        found.residual = exact - times(digits * found.scale, problem.moments)
        return found

    @property
    def scale(self) -> Matrix:
        return across(self.grid.scale, self.grid, self.weight.shape)

    @property
    def solution(self) -> Solution:
        zero = across(self.grid.zero_point, self.grid, self.weight.shape)
        return Solution(returned(self.digits + zero), self.grid)

    @property
    def error(self) -> float:
        """``(W - s Z) H (W - s Z)^T``, summed over the rows."""
        return float(np.vdot(self.weight - self.digits * self.scale, self.residual))

    def sweep(self) -> None:
        ends = (end - self.grid.zero_point for end in (self.grid.lowest, self.grid.highest))
        low, high = (across(end, self.grid, self.weight.shape) for end in ends)
        sweep(self.digits, self.residual, self.scale, low, high, self.moments)

    def rescale(self) -> None:
        if self.grid.block:
            for index in range(self.grid.scale.shape[2]):
                self._rescale_block(index)
            return
        before = self.grid
        wanted = _rows(self.exact, self.digits)
        made = (wanted - _rows(self.residual, self.digits)) / before.scale  # Z H Z^T
        self._fit(before.over_rows(wanted), before.over_rows(made))
        # R' = W H - s' Z H
        self.residual -= self.exact
        self.residual *= np.moveaxis(self.grid.scale / before.scale, 2, 0)
        self.residual += self.exact

    def _rescale_block(self, index: int) -> None:
        """The scales of one block of columns, while the others stay."""
        before, start = self.grid, index * self.grid.block
        end = min(start + before.block, len(self.weight))
        carried, made = [], np.zeros((*self.weight.shape[1:], 1))
        for columns, h in zip(self.moments.slices, self.moments.blocks, strict=True):
            mine = slice(max(start, columns.start), min(end, columns.stop))
            if mine.start < mine.stop:
                inside = slice(mine.start - columns.start, mine.stop - columns.start)
                carried.append((columns, product(h[:, :, inside], self.digits[mine])))
                made += _rows(carried[-1][1][inside], self.digits[mine])
        change = _rows(self.residual[start:end], self.digits[start:end])
        wanted = change + before.scale[:, :, index : index + 1] * made
        self._fit(before.over_rows(wanted), before.over_rows(made), slice(index, index + 1))
        moved = np.moveaxis(self.grid.scale - before.scale, 2, 0)[index]
        for columns, along in carried:
            self.residual[columns] -= along * moved

    def _fit(self, wanted: Matrix, made: Matrix, blocks: slice = slice(None)) -> None:
        """The scale ``wanted / made``, ``(W H Z^T) / (Z H Z^T)``, where there is one: the nearest that the grid allows,
        if that is better than what it has."""
        before = self.grid.scale
        ideal = before.copy()
        np.divide(wanted, made, out=ideal[:, :, blocks], where=(wanted > 0) & (made > 0))
        allowed = self.grid.with_scale(ideal).scale
        better = (allowed - before)[:, :, blocks] * ((allowed + before)[:, :, blocks] * made - 2 * wanted) < 0
        scale = before.copy()
        np.copyto(scale[:, :, blocks], allowed[:, :, blocks], where=better)
        self.grid = replace(self.grid, scale=scale)


def _rows(one: Matrix, other: Matrix) -> Matrix:
    """The scalar product of each row, [groups, outputs, 1]."""
    return np.asarray(np.einsum("cgo,cgo->go", one, other))[:, :, None]
