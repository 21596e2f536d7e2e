"""A linear layer takes the factor and the shift of its channels into its weights: of what is computed behind it, or of
what is computed before it.

Between the two may stand what sees the channels with other axes, and sums with constants: ``(x + c) * k + s`` is
``x * k + (c * k + s)``, and ``x * k + c`` is ``(x + c / k) * k``. Everything is found possible before anything is done.
A tensor that has a grid already keeps its values.
"""

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.affine import Affine, along
from onnxq.channels import (
    activation,
    has_room,
    input_axis,
    input_channels,
    input_scaled,
    output_axis,
    output_channels,
    output_scaled,
)
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, bypass, constant_operand, is_output, layout, readers, skip, sole_producer
from onnxq.new_constants import Edit, NewConstants
from onnxq.views import SEEN_THROUGH, seen_before, seen_behind
from onnxq.workspace import Workspace

Array = NDArray[np.float64]


def taken_before(workspace: Workspace, tensor: gs.Tensor, wanted: Affine) -> list[Edit] | None:
    """What lets ``tensor`` be what ``wanted`` makes of it now: changes of the layer that makes it, and of what stands
    between; a product or a sum with a constant may be enough. None where there is no such layer, or something else
    reads what it makes. Raises Declined where the layer cannot."""
    graph, edits = workspace.graph, list[Edit]()
    while True:
        node = sole_producer(graph, tensor, *HEAVY_OPS, *SEEN_THROUGH, "Add", "Mul")
        if node is None or tensor.name in workspace.activations:
            return None
        edits.append(_normal_scaled(workspace, tensor, wanted))
        if node.op in HEAVY_OPS:
            made = _layer_behind(graph, node, wanted)
            return None if made is None else [*edits, made]
        if node.op in SEEN_THROUGH:
            wanted, tensor = seen_before(node, wanted), node.inputs[0]
            continue
        index = constant_operand(node)
        if index is None or (node.op == "Mul" and not wanted.pure):
            return None
        edits.append(_constant_scaled(graph, node, index, wanted))
        if node.op == "Mul" or np.all(wanted.factor == 1):
            return edits
        _require_equal_ranks(node, index, wanted)
        wanted, tensor = wanted.factor_only(), node.inputs[1 - index]


def taken_behind(workspace: Workspace, tensor: gs.Tensor, given: Affine) -> list[Edit] | None:
    """What lets all readers of ``tensor`` work as if it were what ``given`` makes of it: changes of the layers that
    read it, and of what stands between. None where something else reads it. Raises Declined where a layer cannot."""
    graph, edits = workspace.graph, list[Edit]()
    top = {id(node) for node in graph.nodes}
    for node, index in readers(tensor):
        if id(node) not in top or is_output(graph, tensor) or tensor.name in workspace.activations:
            return None
        found = _taken_by(workspace, node, index, given)
        if found is None:
            return None
        edits += found
    return edits or None


def _taken_by(workspace: Workspace, node: gs.Node, index: int, given: Affine) -> list[Edit] | None:
    """The same for one reader, which reads it as its input ``index``."""
    graph = workspace.graph
    if node.op in HEAVY_OPS:
        ahead = _layer_ahead(graph, node, index, given)
        return None if ahead is None else [ahead]
    if node.op in SEEN_THROUGH and index == 0:
        rest = taken_behind(workspace, node.outputs[0], seen_behind(node, given))
        return None if rest is None else [*rest, _normal_forgotten(workspace, node)]
    constant = constant_operand(node) if node.op == "Add" and given.pure else None
    if constant is None:
        return None
    _require_equal_ranks(node, constant, given)
    rest = taken_behind(workspace, node.outputs[0], given)
    if rest is None:
        return None
    return [*rest, _constant_divided(graph, node, constant, given), _normal_forgotten(workspace, node)]


def _layer_behind(graph: gs.Graph, node: gs.Node, wanted: Affine) -> Edit | None:
    """None where a sum would only be moved."""
    if np.all(wanted.factor == 1) and not has_room(graph, node):
        return None
    channels = output_channels(node)
    _require_axis(wanted, output_axis(node), node.outputs[0], node)
    full = wanted.for_channels(channels)
    return output_scaled(node, full.factor, full.shift, graph)


def _layer_ahead(graph: gs.Graph, node: gs.Node, index: int, given: Affine) -> Edit | None:
    """None where the tensor is no activation of a layer with weights, or a sum would only be moved."""
    if layout(node) is None or index != activation(node):
        return None
    if np.all(given.factor == 1) and not has_room(graph, node):
        return None
    _require_axis(given, input_axis(node), node.inputs[index], node)
    full = given.for_channels(input_channels(node))
    return input_scaled(node, full.factor, full.shift, graph)


def _require_axis(affine: Affine, axis: int, tensor: gs.Tensor, node: gs.Node) -> None:
    if affine.scalar:
        return
    if axis < 0 and tensor.shape is None:
        raise Declined(f"the rank of {tensor.name!r} is not known")
    found = axis % len(tensor.shape) if axis < 0 else axis
    if found != affine.axis:
        raise Declined(f"its channels lie on axis {affine.axis}, those of {node.name!r} on axis {found}")


def _require_equal_ranks(node: gs.Node, constant: int, affine: Affine) -> None:
    """Of a sum and of what is computed in it, else their channels lie on different axes."""
    shapes = (node.inputs[1 - constant].shape, node.outputs[0].shape)
    if not affine.scalar and (None in shapes or len(shapes[0]) != len(shapes[1])):
        raise Declined(f"the sum {node.name!r} may have more axes than what it adds to")


def _rank(node: gs.Node, affine: Affine) -> int:
    shape = node.outputs[0].shape
    if shape is None and not affine.scalar:
        raise Declined(f"the rank of {node.outputs[0].name!r} is not known")
    return len(shape or ())


def _constant_scaled(graph: gs.Graph, node: gs.Node, index: int, wanted: Affine) -> Edit:
    """The constant of a sum or a product, so that what it makes becomes what is wanted of it."""
    rank, old = _rank(node, wanted), np.asarray(node.inputs[index].values)
    factor, shift = (along(vector, wanted.axis, rank) for vector in (wanted.factor, wanted.shift))
    return NewConstants(node, graph).setting(index, old * factor + shift, old.dtype, "constant").made


def _constant_divided(graph: gs.Graph, node: gs.Node, index: int, given: Affine) -> Edit:
    """``c / k`` for the constant of a sum."""
    old = np.asarray(node.inputs[index].values)
    factor = along(given.factor, given.axis, _rank(node, given))
    if np.any((factor == 0) & (old != 0)):
        raise Declined("a factor of 0 leaves nothing that a sum behind it could be divided by")
    divided = old / np.where(factor == 0, 1, factor)
    return NewConstants(node, graph).setting(index, divided, old.dtype, "constant").made


def _normal_scaled(workspace: Workspace, tensor: gs.Tensor, wanted: Affine) -> Edit:
    """What is known of the tensor's distribution, for what becomes of it."""

    def edit() -> None:
        known = workspace.normals.pop(tensor.name, None)
        if known is not None and (wanted.scalar or wanted.axis == 1):
            full = wanted.for_channels(len(known.mean))
            workspace.normals[tensor.name] = known.scaled(full.factor).shifted(full.shift)

    return edit


def _normal_forgotten(workspace: Workspace, node: gs.Node) -> Edit:
    def edit() -> None:
        workspace.normals.pop(node.outputs[0].name, None)

    return edit


def fold_before(workspace: Workspace, node: gs.Node, index: int, given: Affine) -> bool:
    """Let what makes input ``index`` of the node do what the node does, which goes; whether it could.

    Raises Declined."""
    edits = taken_before(workspace, node.inputs[index], given)
    if edits is None:
        return False
    for edit in edits:
        edit()
    known = workspace.normals.pop(node.inputs[index].name, None)
    if known is not None:
        workspace.normals[node.outputs[0].name] = known
    bypass(workspace.graph, node, index)
    return True


def fold_behind(workspace: Workspace, node: gs.Node, index: int, given: Affine) -> bool:
    """Let those that read the node's output do what the node does, which goes; whether they could.

    Raises Declined."""
    edits = taken_behind(workspace, node.outputs[0], given)
    if edits is None:
        return False
    for edit in edits:
        edit()
    workspace.normals.pop(node.outputs[0].name, None)
    skip(workspace.graph, node, index)
    return True
