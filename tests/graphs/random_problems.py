"""Random problems of every kind for solvers: grids, groups, blocks of moments, dead columns and rows."""

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.second_moments import Moments
from onnxq.solving import Grid, Problem

Matrix = NDArray[np.float64]
SHARED = ("tensor", "channel", "channel of all groups", "block")


def problem(
    shape: tuple[int, int, int] = (1, 4, 12),
    bits: int = 4,
    *,
    symmetric: bool = True,
    shared: str = "channel",
    samples: int = 40,
    parts: Sequence[int] = (),
    dead: bool = False,
    seed: int = 0,
) -> Problem:
    """Normal weights; inputs that depend on each other, so many ``samples`` of them. The moments have blocks of the
    sizes ``parts``; of what is ``dead``, one row of weights and one column of inputs are zero."""
    rng = np.random.default_rng(seed)
    groups, _, columns = shape
    weight = rng.standard_normal(shape)
    mixed = rng.standard_normal((groups, columns, columns)) + np.eye(columns)
    inputs = mixed @ rng.standard_normal((groups, columns, samples)) + rng.standard_normal((groups, columns, 1))
    if dead:
        weight[0, 0], inputs[:, columns // 2] = 0, 0
    ends = np.cumsum([*(parts or [columns])])
    blocks = tuple(part @ np.swapaxes(part, 1, 2) for part in np.split(inputs, ends[:-1], axis=1))
    return Problem(weight, Moments(blocks, samples), grid(weight, bits, symmetric=symmetric, shared=shared))


def grid(weight: Matrix, bits: int, *, symmetric: bool, shared: str) -> Grid:
    """One that holds every weight; blocks are of 4 columns."""
    block = 4 if shared == "block" else 0
    starts = np.arange(0, weight.shape[2], block or weight.shape[2])
    low, high = np.minimum.reduceat(weight, starts, 2), np.maximum.reduceat(weight, starts, 2)
    over = {"tensor": (0, 1), "channel of all groups": (0,)}.get(shared, ())
    low, high = np.minimum(low.min(over, keepdims=True), 0), np.maximum(high.max(over, keepdims=True), 0)
    lowest, highest = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    scale = np.maximum(high, -low) / highest if symmetric else (high - low) / (highest - lowest)
    scale = np.where(scale > 0, scale, 1.0)
    zero_point = np.zeros_like(scale) if symmetric else np.clip(np.rint(-low / scale), lowest, highest)
    return Grid(scale, zero_point, lowest, highest, block)


@st.composite
def problems(draw: st.DrawFn, columns: int = 20) -> Problem:
    """Any of them, with at most so many columns."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, columns))
    cut = draw(st.integers(0, shape[2] - 1))
    return problem(
        shape,
        draw(st.integers(2, 8)),
        symmetric=draw(st.booleans()),
        shared=draw(st.sampled_from(SHARED)),
        samples=draw(st.sampled_from([1, 5, 40])),
        parts=(cut, shape[2] - cut) if cut else (),
        dead=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )


def brute_force(of: Problem) -> float:
    """The least error of any integers on the given grid."""
    given = of.grid
    return sum(_least_of_row(of, given, group, output) for group, output in np.ndindex(of.weight.shape[:2]))


def _least_of_row(of: Problem, given: Grid, group: int, output: int) -> float:
    columns = of.weight.shape[2]
    every = np.array(list(itertools.product(range(given.lowest, given.highest + 1), repeat=columns)), np.float64)
    shape = (*of.weight.shape[:2], given.scale.shape[2])
    scale, zero = (np.broadcast_to(part, shape)[group, output] for part in (given.scale, given.zero_point))
    which = np.arange(columns) // (given.block or columns)
    difference = of.weight[group, output] - (every - zero[which]) * scale[which]
    moments = Moments(tuple(h[group : group + 1] for h in of.moments.blocks), of.moments.columns)
    return float(moments.error(difference[None]).min())
