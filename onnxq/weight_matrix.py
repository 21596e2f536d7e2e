"""A layer as ``y = W x``: its weight as one matrix a group, [groups, outputs, columns].

| layer | weight | groups | a column of the matrix is |
|---|---|---|---|
| Conv | [m, c/g, *kernel] | g | channel of the group, then tap, row-major |
| depthwise Conv | [m, 1, *kernel] | c | tap |
| ConvTranspose | [c, m/g, *kernel] | g | channel of the group, then tap |
| Gemm | [k, n], with transB [n, k] | 1 | input |
| MatMul, weight on the right | [*stack, k, n] | size of the stack | input |
| MatMul, weight on the left | [*stack, n, k] | size of the stack | input |

``alpha`` of a Gemm is left out: it multiplies what the matrix makes.
"""

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import Declined
from onnxq.graph import Layout, layout, values

Array = NDArray[Any]


def weight_matrix(node: gs.Node) -> Array:
    """[groups, outputs, columns], a view where it can be one. Raises Declined if no weight is constant."""
    where = weight_layout(node)
    return as_matrix(node, values(node.inputs[where.index], "weight"))


def as_matrix(node: gs.Node, weight: Array) -> Array:
    """``weight``, shaped as the node's own is, as [groups, outputs, columns]."""
    where = weight_layout(node)
    if node.op == "Conv":
        return weight.reshape(where.groups, weight.shape[0] // where.groups, -1)
    if node.op == "ConvTranspose":
        grouped = weight.reshape(where.groups, -1, *weight.shape[1:])
        return np.swapaxes(grouped, 1, 2).reshape(where.groups, weight.shape[1], -1)
    rows = weight if where.out_axis < where.in_axis else np.swapaxes(weight, -1, -2)
    return rows.reshape(-1, *rows.shape[-2:])


def from_matrix(node: gs.Node, matrix: Array) -> Array:
    """What ``as_matrix`` made, in the shape of the node's weight again."""
    where = weight_layout(node)
    shape = values(node.inputs[where.index], "weight").shape
    if node.op == "Conv":
        return matrix.reshape(shape)
    if node.op == "ConvTranspose":
        grouped = matrix.reshape(where.groups, shape[1], shape[0] // where.groups, math.prod(shape[2:]))
        return np.swapaxes(grouped, 1, 2).reshape(shape)
    rows = matrix if where.out_axis < where.in_axis else np.swapaxes(matrix, -1, -2)
    return rows.reshape(shape)


def weight_layout(node: gs.Node) -> Layout:
    """Where the constant weight is. Raises Declined where none is."""
    where = layout(node)
    if where is None:
        raise Declined("its weight is computed at run time")
    return where
