"""The one way to run a solver: its bytes depend on nothing but the problem, and it is never worse than rounding."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxq.solving.grid import Grid
from onnxq.solving.nearest import Nearest
from onnxq.solving.one_thread import one_thread
from onnxq.solving.problem import Problem, Solution, Solver


def solve(problem: Problem, solver: Solver) -> Solution:
    """What the solver finds, where it errs less than the nearest integers on the given grid, and these where not.

    In one thread: how numpy's library sums a product of matrices depends on how many there are. Moments that are not
    finite, of a layer that met infinite values, tell nothing: then it is the nearest integers.
    """
    nearest = Nearest()(problem)
    if not problem.moments.finite:
        return nearest
    with one_thread():
        return best(problem, (nearest, solver(problem)))


def best(problem: Problem, solutions: Sequence[Solution]) -> Solution:
    """For every row the solution with the least exact error, the first of equals; rows that share a scale have one
    solution, unless all have the same scales."""
    found, least = solutions[0], problem.error(solutions[0])[:, :, None]
    for other in solutions[1:]:
        error = problem.error(other)[:, :, None]
        if _same(found.grid, other.grid):
            better, grid = error < least, found.grid
        else:
            better = found.grid.over_rows(error) < found.grid.over_rows(least)
            scale = np.where(better, other.grid.scale, found.grid.scale)
            zero_point = np.where(better, other.grid.zero_point, found.grid.zero_point)
            grid = replace(found.grid, scale=scale, zero_point=zero_point)
        found = Solution(np.where(better, other.integers, found.integers), grid)
        least = np.where(better, error, least)
    return found


def _same(one: Grid, other: Grid) -> bool:
    return np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point)
