"""Scale and shift the channels of a Conv, ConvTranspose, Gemm or MatMul through its weight and bias.

Sums are taken in float64 and stored in the weight's own dtype. Everything is computed and checked before anything is
changed, so what is declined leaves the graph as it was.
"""

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.errors import Declined
from onnxq.graph import Layout, Names, constant_operand, give, has_bias, layout, sole_reader, values
from onnxq.new_constants import Edit, NewConstants, both, stored

Array = NDArray[np.float64]


def channel_axis(rank: int) -> int:
    """Of an activation: the second axis of images, else the last."""
    return 1 if rank > 3 else rank - 1


def output_channels(node: gs.Node) -> int:
    """How many channels the node makes. Raises Declined if its weight is not constant."""
    where = _layout(node)
    size = int(node.inputs[where.index].values.shape[where.out_axis])
    return size * where.groups if node.op == "ConvTranspose" else size


def input_channels(node: gs.Node) -> int:
    """How many channels the node reads. Raises Declined if its weight is not constant."""
    where = _layout(node)
    size = int(node.inputs[where.index].values.shape[where.in_axis])
    return size * where.groups if node.op == "Conv" else size


def output_axis(node: gs.Node) -> int:
    """The axis of the output on which its channels lie, from the right where the rank is free."""
    where = _layout(node)
    return 1 if node.op != "MatMul" else where.out_axis - len(node.inputs[where.index].shape)


def input_axis(node: gs.Node) -> int:
    """The same of the activation that the node reads."""
    where = _layout(node)
    if node.op != "MatMul":
        return 0 if node.op == "Gemm" and node.attrs.get("transA", 0) else 1
    return -1 if where.index == 1 else -2


def activation(node: gs.Node) -> int:
    """The index of the input that is not the weight. Raises Declined if no weight is constant."""
    return 1 - _layout(node).index


def scale_output_channels(node: gs.Node, factor: Vector, shift: Vector, graph: gs.Graph | None = None) -> None:
    """``y`` becomes ``y * factor + shift``, channel by channel; both vectors are [output channels].

    ``graph`` is asked for free names, and takes the Add that a MatMul needs for a shift. Raises Declined.
    """
    output_scaled(node, factor, shift, graph)()


def scale_input_channels(node: gs.Node, factor: Vector, shift: Vector, graph: gs.Graph | None = None) -> None:
    """The node reads ``x`` and works as if it read ``x * factor + shift``; both vectors are [input channels].

    Raises Declined, such as where padding would be shifted too.
    """
    input_scaled(node, factor, shift, graph)()


def output_scaled(node: gs.Node, factor: Vector, shift: Vector, graph: gs.Graph | None = None) -> Edit:
    """What ``scale_output_channels`` does, to be done later."""
    where = _layout(node)
    _require(factor, shift, output_channels(node), "makes")
    weight, dtype = _weight(node, where)
    if node.op == "ConvTranspose":
        grouped = weight.reshape(where.groups, -1, *weight.shape[1:])
        scaled = (grouped * _along(factor.reshape(where.groups, -1), grouped.ndim, (0, 2))).reshape(weight.shape)
    else:
        scaled = weight * _along(factor, weight.ndim, (where.out_axis,))
    change = NewConstants(node, graph).setting(where.index, scaled, dtype, "weight")
    if node.op == "MatMul":
        return both(change.made, _shifted(change, _across(node, where, shift), dtype))
    if not has_bias(node) and not np.any(shift):
        return change.made
    change.setting(2, _bias(node, len(factor)) * factor + shift, dtype, "bias")
    return both(change.made, lambda: _forget_beta(node))


def input_scaled(node: gs.Node, factor: Vector, shift: Vector, graph: gs.Graph | None = None) -> Edit:
    """What ``scale_input_channels`` does, to be done later."""
    where = _layout(node)
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        raise Declined("its Gemm transposes the activation")
    _require(factor, shift, input_channels(node), "reads")
    if np.any(shift):
        _require_no_padding(node)
    weight, dtype = _weight(node, where)
    grouped = weight.reshape(where.groups, -1, *weight.shape[1:]) if node.op == "Conv" else weight[np.newaxis]
    per_group = (where.groups, -1) if node.op == "Conv" else (1, -1)
    axes = (0, 1 + where.in_axis)
    scaled = (grouped * _along(factor.reshape(per_group), grouped.ndim, axes)).reshape(weight.shape)
    change = NewConstants(node, graph).setting(where.index, scaled, dtype, "weight")
    if not np.any(shift):
        return change.made
    moved = grouped * _along(shift.reshape(per_group), grouped.ndim, axes)
    if node.op == "MatMul":
        return both(change.made, _shifted(change, moved[0].sum(axis=where.in_axis, keepdims=True), dtype))
    summed = moved.sum(axis=tuple(a for a in range(moved.ndim) if a not in (0, 1 + where.out_axis))).ravel()
    alpha = float(node.attrs.get("alpha", 1.0)) if node.op == "Gemm" else 1.0
    change.setting(2, _bias(node, len(summed)) + alpha * summed, dtype, "bias")
    return both(change.made, lambda: _forget_beta(node))


def _layout(node: gs.Node) -> Layout:
    where = layout(node)
    if where is None:
        raise Declined("its weight is computed at run time")
    if node.op == "MatMul" and where.index == 0 and len(node.inputs[1].shape or ()) < 2:
        raise Declined("its MatMul multiplies a vector, or what may be one")
    return where


def _require(factor: Vector, shift: Vector, channels: int, verb: str) -> None:
    if len(factor) != channels or len(shift) != channels:
        raise Declined(f"{len(factor)} factors do not fit the {channels} channels that its layer {verb}")
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        raise Declined("its factors or shifts are not finite")


def _require_no_padding(node: gs.Node) -> None:
    if node.op == "ConvTranspose":
        raise Declined("a ConvTranspose overlaps its outputs, so a shift of its input is not a bias")
    auto = node.attrs.get("auto_pad", "NOTSET")
    if node.op == "Conv" and (auto in ("SAME_UPPER", "SAME_LOWER") or any(node.attrs.get("pads", []))):
        raise Declined("its zero padding would have to be shifted too")


def _weight(node: gs.Node, where: Layout) -> tuple[Array, np.dtype[np.generic]]:
    """The weight in float64, and the dtype it is stored in."""
    found = values(node.inputs[where.index], "weight")
    if found.dtype.kind != "f":
        raise Declined(f"its weight is {found.dtype.name}, not a float of numpy's")
    if not np.isfinite(found).all():
        raise Declined("its weight holds NaN or infinity")
    return found.astype(np.float64), found.dtype


def _bias(node: gs.Node, channels: int) -> Array:
    """[channels], or for a Gemm whatever is broadcast to its rows; with a Gemm's beta taken into it."""
    bias = values(node.inputs[2], "bias").astype(np.float64) if has_bias(node) else np.zeros(channels)
    if bias.shape[-1:] not in ((), (1,), (channels,)) or bias.ndim > 2:
        raise Declined(f"its bias has shape {list(bias.shape)}, which does not fit {channels} channels")
    return bias * float(node.attrs.get("beta", 1.0)) if node.op == "Gemm" else bias


def _forget_beta(node: gs.Node) -> None:
    """It is in the bias now."""
    node.attrs.pop("beta", None)


def _across(node: gs.Node, where: Layout, shift: Vector) -> Array:
    """A MatMul's shift, so that it is broadcast to its output."""
    return shift if where.index == 1 else shift[:, np.newaxis]


def has_room(graph: gs.Graph, node: gs.Node) -> bool:
    """Whether the node can take a shift without another node that adds it."""
    return node.op != "MatMul" or _sum_behind(graph, node) is not None or _could_be_gemm(node)


def _sum_behind(graph: gs.Graph | None, node: gs.Node) -> gs.Node | None:
    """The sum with a constant that alone reads what the node makes."""
    reader = sole_reader(graph, node.outputs[0]) if graph is not None else None
    return reader if reader is not None and reader.op == "Add" and constant_operand(reader) is not None else None


def _could_be_gemm(node: gs.Node) -> bool:
    shape = node.inputs[0].shape
    return layout(node) == Layout(1, 1, 0) and shape is not None and len(shape) == 2


def _shifted(change: NewConstants, shift: Array, dtype: np.dtype[np.generic]) -> Edit:
    """Add ``shift``, which is broadcast to what a MatMul makes: to the constant that is added next, if one is, else
    by a Gemm where there are two axes, else by an Add."""
    node, graph = change.node, change.graph
    if not np.any(shift):
        return lambda: None
    reader = _sum_behind(graph, node)
    added = constant_operand(reader) if reader is not None else None
    if reader is not None and added is not None:
        summed = values(reader.inputs[added], "bias").astype(np.float64) + shift
        return NewConstants(reader, graph).setting(added, summed, dtype, "bias").made
    if _could_be_gemm(node):
        bias = (stored(shift.ravel(), dtype, "bias"), change.fresh("bias"))
        return lambda: _become_gemm(node, *bias)
    if graph is None:
        raise Declined("its MatMul has no bias that could take the shift")
    constant = gs.Constant(change.fresh("bias"), stored(shift, dtype, "bias"))
    return lambda: _add_behind(graph, node, constant)


def _become_gemm(node: gs.Node, bias: NDArray[np.generic], name: str) -> None:
    node.op = "Gemm"
    give(node, 2, bias, name)


def _add_behind(graph: gs.Graph, node: gs.Node, constant: gs.Constant) -> None:
    """What the node made is made by the sum, under the same name."""
    result, names = node.outputs[0], Names(graph)
    product = gs.Variable(names.fresh(f"{result.name}/product"), result.dtype, result.shape)
    node.outputs[0] = product
    added = gs.Node("Add", names.fresh(f"{node.name}/Add"), {}, [product, constant], [result])
    graph.nodes.insert(next(i for i, entry in enumerate(graph.nodes) if entry is node) + 1, added)


def _along(vector: Vector, rank: int, axes: tuple[int, ...]) -> Vector:
    shape = [1] * rank
    for axis, size in zip(axes, vector.shape, strict=True):
        shape[axis] = size
    return vector.reshape(shape)
