"""Which learned grid a tensor of the float model has: its own, or that of a neighbour with the same numbers."""

from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from onnxq.graph import MOVERS, data_inputs, data_outputs, is_constant, is_output, optional, producer, readers
from onnxq.lifting.lift import Learned
from onnxq.plan import Edge
from onnxq.scheme import QParams, same_grid

WHOLE = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Identity",
        "Reshape",
        "SpaceToDepth",
        "Squeeze",
        "Tile",
        "Transpose",
    }
    | {"Unsqueeze"}
)
"""Operators whose output holds every number of their inputs."""
MONOTONE = frozenset({"Relu", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"})
"""Operators that commute with rounding to a grid that holds zero, whatever they leave out."""

Grids = Mapping[str, Sequence[Learned]]


def learned_grid(graph: gs.Graph, tensor: gs.Tensor, grids: Grids, wanted: frozenset[Edge]) -> QParams | None:
    """The grid that ``wanted`` readers of the tensor had, or others of it, or a neighbour; None if there is none.

    Behind a node that moves or picks numbers the grid before it holds them all; before a node that keeps all numbers,
    and before a Relu or a MaxPool that alone reads the tensor, rounding to the grid behind it changes nothing there.
    """
    return own_grid(tensor, grids, wanted) or _before(tensor, grids) or _behind(graph, tensor, grids)


def own_grid(tensor: gs.Tensor, grids: Grids, wanted: frozenset[Edge]) -> QParams | None:
    """The learned grid that most of the wanted readers had."""
    entries = grids.get(tensor.name, ())
    return max(entries, key=lambda entry: len(entry.readers & wanted)).params if entries else None


def _before(tensor: gs.Tensor, grids: Grids) -> QParams | None:
    node = producer(tensor)
    if node is None or node.op not in MOVERS | {"Relu"} or not _picks(node):
        return None
    found = [_own_or_before(node.inputs[i], grids) for i in data_inputs(node)]
    first = found[0] if found else None
    if first is None or first.scheme.axis is not None:
        return None
    return first if all(entry is not None and same_grid(entry, first) for entry in found) else None


def _own_or_before(tensor: gs.Tensor, grids: Grids) -> QParams | None:
    return own_grid(tensor, grids, frozenset()) or _before(tensor, grids)


def _behind(graph: gs.Graph, tensor: gs.Tensor, grids: Grids) -> QParams | None:
    found = readers(tensor)
    alone = len(found) == 1 and not is_output(graph, tensor)
    for node, index in found:
        if index in data_inputs(node) and (node.op in WHOLE or (alone and node.op in MONOTONE)):
            for position in data_outputs(node):
                result = node.outputs[position]
                grid = own_grid(result, grids, frozenset()) or _behind(graph, result, grids)
                if grid is not None and grid.scheme.axis is None:
                    return grid
    return None


def _picks(node: gs.Node) -> bool:
    """Whether every number the node makes is one it reads, or zero."""
    if node.op == "Resize":
        mode = node.attrs.get("mode", "nearest")
        return bool(mode == "nearest")
    if node.op == "Pad":
        value = optional(node, 2)
        return value is None or (is_constant(value) and not value.values.any())
    return True
