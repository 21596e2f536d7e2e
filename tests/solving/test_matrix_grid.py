"""A weight's grid as a matrix rounds as the weight's grid does, and what is chosen on it goes back into place."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.constants import best_grid, reach
from onnxq.graph import layout
from onnxq.scheme import Scheme, dequantize, quantize
from onnxq.solving.matrix_grid import matrix_grid, rounded_weight
from onnxq.solving.problem import Solution
from onnxq.testing import normal
from onnxq.weight_matrix import from_matrix, weight_matrix

NODES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "conv": ("Conv", {}, (6, 4, 3, 3)),
    "groups": ("Conv", {"group": 2}, (6, 2, 3, 3)),
    "depthwise": ("Conv", {"group": 4}, (4, 1, 3, 3)),
    "transposed": ("ConvTranspose", {}, (4, 6, 2, 2)),
    "transposed groups": ("ConvTranspose", {"group": 2}, (4, 3, 2, 2)),
    "gemm": ("Gemm", {}, (5, 7)),
    "gemm transposed": ("Gemm", {"transB": 1}, (7, 5)),
    "matmul": ("MatMul", {}, (5, 7)),
    "stack": ("MatMul", {}, (3, 5, 7)),
}


def layer(name: str) -> gs.Node:
    op, attributes, shape = NODES[name]
    weight = gs.Constant("w", normal(*shape, seed=3))
    return gs.Node(op, "layer", dict(attributes), [gs.Variable("x", np.float32), weight], [gs.Variable("y")])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", NODES)
def test_there_and_back(name: str, per_channel: bool, symmetric: bool) -> None:
    node = layer(name)
    where = layout(node)
    assert where is not None
    values = np.asarray(node.inputs[1].values)
    scheme = Scheme(True, symmetric, 4, where.out_axis if per_channel else None)
    params = best_grid(values, scheme, reach(values, scheme))
    grid = matrix_grid(node, params, np.zeros(1))
    matrix = weight_matrix(node).astype(np.float64)
    integers = grid.nearest(matrix)
    np.testing.assert_array_equal(from_matrix(node, integers), quantize(values, params))
    np.testing.assert_allclose(
        from_matrix(node, grid.reals(integers)), dequantize(quantize(values, params), params), rtol=1e-6, atol=1e-7
    )
    back = rounded_weight(node, params, Solution(integers, grid.with_scale(grid.scale * 1.5)))
    np.testing.assert_array_equal(back.integers, quantize(values, params))
    np.testing.assert_allclose(back.params.scale, params.scale * 1.5, rtol=1e-6)
    np.testing.assert_array_equal(back.params.zero_point, params.zero_point)
    assert back.integers.dtype == scheme.dtype and back.params.scale.dtype == np.float32


def test_a_floor_holds_for_what_is_chosen() -> None:
    node = layer("conv")
    values = np.asarray(node.inputs[1].values)
    scheme = Scheme(True, True, 4, 0)
    params = best_grid(values, scheme, reach(values, scheme))
    grid = matrix_grid(node, params, np.full(6, 0.5))
    assert (grid.with_scale(grid.scale * 0 + 1e-3).scale >= 0.5).all()


@pytest.mark.parametrize(("bits", "lowest"), [(2, -2), (4, -8), (7, -64), (8, -127)])
def test_few_bits_reach_the_integer_that_has_no_counterpart(bits: int, lowest: int) -> None:
    node = layer("conv")
    values = np.asarray(node.inputs[1].values)
    scheme = Scheme(True, True, bits, 0)
    params = best_grid(values, scheme, reach(values, scheme))
    grid = matrix_grid(node, params, np.zeros(1))
    assert (grid.lowest, grid.highest) == (lowest, 2 ** (bits - 1) - 1)
    integers = np.full(weight_matrix(node).shape, float(lowest))
    back = rounded_weight(node, params, Solution(integers, grid))
    np.testing.assert_allclose(dequantize(back.integers, back.params)[:, 0, 0, 0], lowest * params.scale, rtol=1e-6)
