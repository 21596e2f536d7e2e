"""Moments of what two graphs read are those of the columns of both."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.columns import columns_of
from onnxq.solving.pairs import PairSum
from onnxq.testing import normal


def conv(groups: int) -> gs.Node:
    weight = gs.Constant("w", normal(4, 4 // groups, 3, 3))
    attributes = {"group": groups, "pads": [1, 1, 1, 1], "strides": [2, 2]}
    return gs.Node("Conv", "conv", attributes, [gs.Variable("x", np.float32), weight], [gs.Variable("y")])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_every_column_counts_once(groups: int) -> None:
    columns = columns_of(conv(groups))
    x, z = normal(3, 4, 8, 8), normal(3, 4, 8, 8, seed=1)
    found = PairSum(columns, (columns.size,), each=10**6)
    found.add(x, z)
    found.add(x[:1], z[:1])
    kept = found.kept()
    where = np.arange(columns.positions(x.shape))
    one, other = (columns.take(array, where).astype(np.float64) for array in (x, z))
    once = slice(0, len(where) // 3)
    one, other = (np.concatenate([array, array[:, :, once]], axis=2) for array in (one, other))
    assert kept.moments.columns == one.shape[2]
    np.testing.assert_allclose(kept.moments.blocks[0], other @ np.swapaxes(other, 1, 2), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(kept.shift[0], (one - other) @ np.swapaxes(other, 1, 2), rtol=1e-5, atol=1e-4)


def test_blocks_are_on_the_diagonal_and_some_columns_are_enough() -> None:
    columns = columns_of(conv(1))
    whole, parts = PairSum(columns, (36,), 7), PairSum(columns, (27, 9), 7)
    for found in (whole, parts):
        found.add(normal(2, 4, 8, 8), normal(2, 4, 8, 8, seed=1))
    (h,), (first, second) = whole.kept().moments.blocks, parts.kept().moments.blocks
    np.testing.assert_allclose(h[:, :27, :27], first, rtol=1e-6)
    np.testing.assert_allclose(h[:, 27:, 27:], second, rtol=1e-6)
    assert whole.kept().moments.columns == 7


def test_halves_merge_and_infinity_is_seen() -> None:
    columns = columns_of(conv(1))
    halves = []
    for seed in (0, 1):
        half = PairSum(columns, (36,), 100)
        half.add(normal(1, 4, 8, 8, seed=seed), normal(1, 4, 8, 8, seed=seed + 5))
        halves.append(half.kept())
    merged = halves[0].merge(halves[1])
    assert merged.moments.columns == 32 and merged.finite
    np.testing.assert_allclose(merged.shift[0], halves[0].shift[0] + halves[1].shift[0])
    broken = PairSum(columns, (36,), 100)
    with np.errstate(invalid="ignore"):
        broken.add(normal(1, 4, 8, 8), np.full((1, 4, 8, 8), np.inf, np.float32))
        assert not broken.kept().finite
