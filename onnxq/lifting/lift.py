"""A quantized model becomes the float model it stands for, and the grids that were in it.

``DequantizeLinear(QuantizeLinear(x))`` becomes ``x``; a constant behind DequantizeLinear becomes its floats; operators
that move integers move floats. Operators on integers (QLinearConv, MatMulInteger, ...) are written as Q/DQ first. What
cannot be taken out is computed in float, so the model's inputs and outputs stay what they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from onnxq.errors import ModelError
from onnxq.graph import tidy
from onnxq.ledger import Entry
from onnxq.lifting.known import Lifting
from onnxq.lifting.unquantize import emit_integers, unquantize
from onnxq.model import QUANTIZED_OPS, export, to_graph
from onnxq.normalise import normalise, opset
from onnxq.plan import Edge
from onnxq.scheme import Integers, QParams


@dataclass(frozen=True)
class Learned:
    """A grid that a tensor of the float model had, and who read it: nodes, and the caller where it is an ``output``."""

    params: QParams
    readers: frozenset[Edge]
    output: bool = False


@dataclass(frozen=True)
class LearnedWeight:
    """The integers that a float constant was kept as, in its shape, and their grid."""

    integers: Integers
    params: QParams


@dataclass(frozen=True)
class Lifted:
    """The float ``model``; grids by tensor of it, and integers by initializer; what was lost, and why.

    ``lost``: initializers that were integers on a grid that onnxq has none for, such as one in blocks.
    """

    model: onnx.ModelProto
    activations: Mapping[str, tuple[Learned, ...]]
    weights: Mapping[str, LearnedWeight]
    lost: frozenset[str]
    notes: tuple[Entry, ...]


def lift(model: onnx.ModelProto) -> Lifted:
    """The float model and the grids of a quantized one; one that is not quantized comes back without any.

    Raises ModelError, with the node's name, for an operator on integers that has no float form here.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    source = normalise(copy, "the model given")
    graph = to_graph(source)
    work = Lifting.of(graph, opset(source))
    unquantize(work, graph)
    emit_integers(work)
    tidy(graph)
    work.constants.rename(graph)
    lifted = normalise(export(graph, source), "the lifted model")
    left = [node for node in lifted.graph.node if node.op_type in QUANTIZED_OPS]
    if left:
        raise ModelError(
            f"node {left[0].name!r} ({left[0].op_type}) cannot be turned into float: what reads its integers is not "
            "known. Take the model before it was quantized."
        )
    activations, weights = _activations(work), _weights(work)
    lost = frozenset(c.name for c, stored in work.constants.alive() if stored.dtype != "int32") - weights.keys()
    return Lifted(lifted, activations, weights, lost, tuple(dict.fromkeys(work.notes)))


def _activations(work: Lifting) -> dict[str, tuple[Learned, ...]]:
    """What was recorded for tensors and nodes that are still there."""
    alive = {id(tensor) for tensor in work.graph.tensors().values()}
    found: dict[str, list[Learned]] = {}
    for record in work.records:
        edges = frozenset(
            (node.name, index)
            for node, index in record.readers
            if index < len(node.inputs) and node.inputs[index] is record.tensor
        )
        if id(record.tensor) not in alive or not (edges or record.output):
            continue
        params = record.grid.params()
        if params is None:
            reason = f"its grid ({record.grid.describe()}) is none that onnxq has, so it is not kept"
            work.note("warning", record.tensor.name, reason)
            continue
        if params.scheme.axis is not None:
            work.note("warning", record.tensor.name, "its grid has a scale per channel, which no backend here wants")
        found.setdefault(record.tensor.name, []).append(Learned(params, edges, record.output))
    return {tensor: tuple(entries) for tensor, entries in found.items()}


def _weights(work: Lifting) -> dict[str, LearnedWeight]:
    found = {}
    for constant, stored in work.constants.alive():
        params = stored.grid.params() if stored.grid is not None else None
        if params is not None:
            found[constant.name] = LearnedWeight(stored.integers.astype(params.scheme.dtype), params)
        elif stored.dtype != "int32":  # a bias
            kind = stored.grid.describe() if stored.grid is not None else f"{stored.dtype}, moved across channels"
            work.note("warning", constant.name, f"its grid ({kind}) is none that onnxq has, so it is not kept")
    return found
