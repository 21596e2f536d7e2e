"""Scale and shift the channels of a Conv, ConvTranspose, Gemm or MatMul through its weight and bias.

Sums are taken in float64 and stored in the weight's own dtype.
"""

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import Declined
from onnxq.graph import Layout, give, has_bias, is_constant, layout, per_channel, values

Vector = NDArray[np.float64]


def output_channels(node: gs.Node) -> int:
    """How many channels the node makes. Raises Declined if its weight is not constant."""
    where = _layout(node)
    size = int(node.inputs[where.index].values.shape[where.out_axis])
    return size * where.groups if node.op == "ConvTranspose" else size


def scale_output_channels(node: gs.Node, factor: Vector, shift: Vector) -> None:
    """``y`` becomes ``y * factor + shift``, channel by channel; both vectors are [output channels]."""
    where = _layout(node)
    weight, dtype = _weight(node, where)
    if node.op == "MatMul":
        _become_gemm(node)
    bias = _bias(node, len(factor)) * factor + shift if has_bias(node) or np.any(shift) else None
    if node.op == "ConvTranspose":
        grouped = weight.reshape(where.groups, -1, *weight.shape[1:])
        scaled = grouped * _along(factor.reshape(where.groups, -1), grouped.ndim, (0, 2))
    else:
        scaled = weight * _along(factor, weight.ndim, (where.out_axis,))
    _replace(node, where.index, scaled.reshape(weight.shape), dtype)
    if bias is not None:
        _replace(node, 2, bias, dtype)


def scale_input_channels(node: gs.Node, factor: Vector, shift: Vector) -> None:
    """The node reads ``x`` and works as if it read ``x * factor + shift``; both vectors are [input channels].

    Raises Declined where padding would be shifted too, or the node is a ConvTranspose.
    """
    where = _layout(node)
    weight, dtype = _weight(node, where)
    if node.op == "ConvTranspose":
        raise Declined("a ConvTranspose overlaps its outputs, so a shift of its input is not a bias")
    if node.op == "Conv" and np.any(shift) and _pads(node):
        raise Declined("its zero padding would have to be shifted too")
    if node.op == "MatMul":
        _become_gemm(node)
    grouped = _per_input_channel(weight, where)
    axes = (0, 1 + where.in_axis) if node.op == "Conv" else (1 + where.in_axis,)
    per_group = factor.reshape(where.groups, -1) if node.op == "Conv" else factor
    shifts = shift.reshape(per_group.shape)
    moved = grouped * _along(shifts, grouped.ndim, axes)
    out_axis = 1 + where.out_axis
    summed = moved.sum(axis=tuple(a for a in range(moved.ndim) if a not in (0, out_axis))).ravel()
    scaled = grouped * _along(per_group, grouped.ndim, axes)
    if np.any(shift):
        bias = _bias(node, len(summed))
        if node.op == "Gemm":
            summed = summed * float(node.attrs.get("alpha", 1.0))
        _replace(node, 2, bias + summed, dtype)
    _replace(node, where.index, scaled.reshape(weight.shape), dtype)


def _layout(node: gs.Node) -> Layout:
    where = layout(node)
    if where is None:
        raise Declined("its weight is computed at run time")
    if node.op == "MatMul" and (where.index != 1 or node.inputs[1].values.ndim != 2):
        raise Declined("its MatMul is not a plain matrix on the right")
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        raise Declined("its Gemm transposes the activation")
    return where


def _weight(node: gs.Node, where: Layout) -> tuple[Vector, np.dtype[np.generic]]:
    """The weight in float64, and the dtype it is stored in."""
    stored = values(node.inputs[where.index], "weight")
    return stored.astype(np.float64), stored.dtype


def _per_input_channel(weight: Vector, where: Layout) -> Vector:
    """[groups, ...]: output channels of one group meet the input channels of that group only."""
    if where.out_axis == 0:
        return weight.reshape(where.groups, -1, *weight.shape[1:])
    return weight[np.newaxis]


def _bias(node: gs.Node, channels: int) -> Vector:
    """[channels], with a Gemm's beta taken into it."""
    bias = per_channel(values(node.inputs[2], "bias"), channels) if has_bias(node) else np.zeros(channels)
    return bias * float(node.attrs.pop("beta", 1.0)) if node.op == "Gemm" else bias


def _become_gemm(node: gs.Node) -> None:
    shape = node.inputs[0].shape
    if shape is None or len(shape) != 2:
        raise Declined("its MatMul is not two-dimensional, so channels are not on axis 1")
    node.op = "Gemm"


def _pads(node: gs.Node) -> bool:
    auto = node.attrs.get("auto_pad", "NOTSET")
    return auto in ("SAME_UPPER", "SAME_LOWER") or any(node.attrs.get("pads", []))


def _along(vector: Vector, rank: int, axes: tuple[int, ...]) -> Vector:
    shape = [1] * rank
    for axis, size in zip(axes, vector.shape, strict=True):
        shape[axis] = size
    return vector.reshape(shape)


def _replace(node: gs.Node, index: int, array: NDArray[np.generic], dtype: np.dtype[np.generic]) -> None:
    """A new constant; one that replaces another keeps its name, unless others read the old one too."""
    old = node.inputs[index] if index < len(node.inputs) else None
    shared = old is not None and is_constant(old) and len(old.outputs) > 1
    name = old.name if old is not None and old.name and not shared else f"{node.name}/{('weight', 'bias')[index == 2]}"
    give(node, index, array.astype(dtype), name)
