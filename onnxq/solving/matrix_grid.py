"""A weight's grid as a matrix, and back: between ``QParams`` along an axis of the weight and ``Grid``."""

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import layout
from onnxq.scheme import SMALLEST_SCALE, QParams, Steps
from onnxq.solving.grid import Grid, Matrix
from onnxq.solving.problem import Solution
from onnxq.weight_matrix import as_matrix, from_matrix
from onnxq.workspace import RoundedWeight


def matrix_grid(node: gs.Node, params: QParams, least: NDArray[np.float64]) -> Grid:
    """Of the layer's weight; ``least``: what no scale may be below, a number or [channels]."""
    scheme = params.scheme
    if scheme.block:
        scale, zero = (_turned(node, array.astype(np.float64))[None] for array in (params.scale, params.zero_point))
        return Grid(scale, zero, scheme.reachable, scheme.highest, scheme.block, floor=SMALLEST_SCALE)
    found = [_spread(node, array.astype(np.float64), scheme.axis) for array in (params.scale, params.zero_point)]
    allowed = np.asarray(np.max(least)) if scheme.axis is None else np.broadcast_to(least, params.scale.shape)
    floor = np.maximum(_spread(node, allowed, scheme.axis), SMALLEST_SCALE)
    powers = scheme.steps is Steps.POWER_OF_TWO
    return Grid(found[0], found[1], scheme.reachable, scheme.highest, floor=floor, powers=powers)


def rounded_weight(node: gs.Node, params: QParams, solution: Solution) -> RoundedWeight:
    """What a solver chose, in the shape and the types of the layer's weight."""
    scheme, grid = params.scheme, solution.grid
    integers = np.ascontiguousarray(from_matrix(node, solution.integers).astype(scheme.dtype))
    held = (grid.scale, grid.zero_point)
    if scheme.block:
        scale, zero = (_turned(node, array[0]) for array in held)
    else:
        scale, zero = (_gathered(node, array, solution.integers, scheme.axis) for array in held)
    return RoundedWeight(
        integers, replace(params, scale=scale.astype(np.float32), zero_point=zero.astype(scheme.dtype))
    )


def _turned(node: gs.Node, blocks: Matrix) -> Matrix:
    """Between [outputs, blocks] and the order of axes that the weight of a MatMul or Gemm has."""
    where = layout(node)
    assert where is not None
    return blocks if where.out_axis < where.in_axis else np.ascontiguousarray(blocks.T)


def _spread(node: gs.Node, values: Matrix, axis: int | None) -> Matrix:
    """One number, or one for each entry of an ``axis`` of the weight, so that it can be multiplied with its matrix."""
    if axis is None:
        return values.reshape(1, 1, 1)
    where = layout(node)
    assert where is not None
    shape = node.inputs[where.index].shape
    along = values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    found = as_matrix(node, np.broadcast_to(along, shape))[:, :, :1]
    # Groups of a Conv have output channels of their own; those of a ConvTranspose, and stacked matrices, share them.
    return np.ascontiguousarray(found if node.op == "Conv" else found[:1])


def _gathered(node: gs.Node, values: Matrix, like: Matrix, axis: int | None) -> Matrix:
    """What ``_spread`` spread."""
    if axis is None:
        return values.reshape(())
    whole = from_matrix(node, np.broadcast_to(values, like.shape))
    return np.moveaxis(whole, axis, 0).reshape(whole.shape[axis], -1)[:, 0].copy()
