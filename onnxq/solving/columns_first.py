"""Matrices turned to ``[columns, groups, outputs]``, in which solvers go from column to column, all rows at once."""

import numpy as np

from onnxq.solving.grid import Grid, Matrix

BLOCK = 64  # columns whose changes are carried to all others at once, by one product of matrices


def turned(matrix: Matrix) -> Matrix:
    """[groups, outputs, columns] as [columns, groups, outputs]."""
    return np.ascontiguousarray(np.moveaxis(matrix, 2, 0))


def returned(matrix: Matrix) -> Matrix:
    """What was turned as it was."""
    return np.ascontiguousarray(np.moveaxis(matrix, 0, 2))


def across(shared: Matrix, grid: Grid, shape: tuple[int, ...]) -> Matrix:
    """What has the shape of the grid's scales, for every weight of a turned matrix of that shape; a view where all
    columns share it."""
    by_column = np.moveaxis(grid.spread(shared, shape[0]), 2, 0)
    full = np.ascontiguousarray(np.broadcast_to(by_column, (len(by_column), *shape[1:])))
    return np.broadcast_to(full, shape)


def combined(factors: Matrix, rows: Matrix) -> Matrix:
    """``sum_k factors[g, k] rows[k, g, o]``: one column [groups, outputs], made of others."""
    if len(factors) == 1:
        return np.asarray(factors[0] @ rows[:, 0])[None]
    return np.asarray(np.einsum("gk,kgo->go", factors, rows))


def product(h: Matrix, rows: Matrix) -> Matrix:
    """``sum_k h[g, c, k] rows[k, g, o]``, [columns, groups, outputs]."""
    if len(h) == 1:
        return np.asarray(h[0] @ rows[:, 0])[:, None]
    return np.moveaxis(h @ np.moveaxis(rows, 0, 1), 0, 1)
