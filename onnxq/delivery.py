"""What a target's own tools take where that is not Q/DQ: the float model, and the grids in a file beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Grids, SideFile
from onnxq.model import export
from onnxq.scheme import QParams, dequantize
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class Delivery:
    """``model`` is in float, and its weights lie on their grids already, so that the tools' own rounding finds the
    integers that onnxq chose. ``text`` goes into a file whose name ends in ``suffix``."""

    model: onnx.ModelProto
    suffix: str
    text: str


def deliver(space: Workspace, graph: gs.Graph, side_file: SideFile) -> Delivery:
    """The delivery of ``graph``, the model before Q/DQ were inserted, with the grids of ``space``.

    A file has one grid a tensor. What it cannot say goes to the ledger.
    """
    weights = _set_on_grid(space, graph)
    other = sum(params.scheme.bits != 8 for params in space.activations.values())
    if other and not side_file.has_bits:
        reason = f"{other} grids have not 8 bits, which the file beside the model cannot say: its tools will take 8"
        space.ledger.add("warning", "deliver", side_file.suffix, reason)
    planned = space.plan.activations
    layers = {
        node.name: tuple(
            tensor.name
            for index, tensor in enumerate(node.inputs)
            if tensor.name in planned and (node.name, index) in planned[tensor.name].wanted
        )
        for node in graph.nodes
    }
    grids = Grids(space.activations, weights, {name: read for name, read in layers.items() if read})
    return Delivery(export(graph, space.source), side_file.suffix, side_file.write(grids))


def _set_on_grid(space: Workspace, graph: gs.Graph) -> Mapping[str, QParams]:
    """The grid of every weight, whose floats become those that its integers stand for."""
    tensors, found = graph.tensors(), {}
    for weight, rounded in space.weights.items():
        if weight.tensor in found:
            reason = "shared by layers on two grids; the file beside the model holds the first"
            space.ledger.add("warning", "deliver", weight.tensor, reason)
            continue
        tensors[weight.tensor].values = dequantize(rounded.integers, rounded.params)
        found[weight.tensor] = rounded.params
    return found
