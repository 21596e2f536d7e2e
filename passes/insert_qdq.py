"""``x`` becomes ``DequantizeLinear(QuantizeLinear(x))`` where the plan says so, and weights become integers
behind a DequantizeLinear. Readers that want floats keep reading ``x``.

A grid of fewer than 8 bits is stored in 8, at which QuantizeLinear saturates, so a Clip of the integers follows. Around
it onnxruntime, OpenVINO and TensorRT-RTX keep their INT8 kernels; a Clip of floats before costs onnxruntime's.

A logarithmic grid, which these operators do not have, is simulated: Q/DQ of the logarithm, and weights that are
rounded but stored as floats. 16-bit Q/DQ are onnxruntime's own (com.microsoft) below opset 21, the first to have them.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, every_node, is_output, readers, tidy
from onnxq.logarithmic_nodes import simulation
from onnxq.plan import Activation
from onnxq.scheme import QParams, Steps, dequantize
from onnxq.workspace import RoundedWeight, Workspace

WIDE_OPSET = 21


@dataclass(frozen=True)
class InsertQdq:
    """Write the plan into the graph."""

    name: ClassVar[str] = "insert_qdq"

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        tensors = graph.tensors()
        if any(node.op == "DequantizeLinear" for node in graph.nodes):
            return False
        names = Names(graph)
        for entry in workspace.plan.activations.values():
            quantize_activation(graph, names, tensors[entry.tensor], entry, workspace.activations[entry.tensor])
        nodes = {node.name: node for node in every_node(graph)}
        for weight, rounded in workspace.weights.items():
            result = dequantized_weight(graph, names, weight.tensor, rounded)
            for name, index in weight.readers:
                nodes[name].inputs[index] = result
        tidy(graph)
        return bool(workspace.plan.activations or workspace.weights)


def quantize_activation(graph: gs.Graph, names: Names, tensor: gs.Tensor, entry: Activation, params: QParams) -> None:
    """Put Q and DQ behind ``tensor`` for the readers of ``entry``. An output of the graph keeps its name."""
    edges = [
        (node, index) for node, index in readers(tensor) if entry.readers is None or (node.name, index) in entry.readers
    ]
    source, result = tensor, gs.Variable(names.fresh(f"{tensor.name}/dequantized"), np.float32, tensor.shape)
    if entry.readers is None and is_output(graph, tensor):
        source, result = gs.Variable(names.fresh(f"{tensor.name}/float"), np.float32, tensor.shape), tensor
        maker = tensor.inputs[0]
        maker.outputs[maker.outputs.index(tensor)] = source
    for node, index in edges:
        node.inputs[index] = result
    if params.scheme.steps is Steps.LOGARITHMIC:
        graph.nodes += simulation(names, tensor.name, source, result, float(params.scale))
        return
    grid, domain = _constants(names, tensor.name, params), _domain(graph, params)
    integers = gs.Variable(names.fresh(f"{tensor.name}/quantized"), params.scheme.dtype, tensor.shape)
    kept = _clipped(graph, names, tensor.name, integers, params)
    for op, given, made in (("QuantizeLinear", source, integers), ("DequantizeLinear", kept, result)):
        name = names.fresh(f"{tensor.name}/{op}")
        graph.nodes.append(gs.Node(op, name, inputs=[given, *grid], outputs=[made], domain=domain))


def _clipped(graph: gs.Graph, names: Names, name: str, integers: gs.Variable, params: QParams) -> gs.Variable:
    """The integers within the grid, where their type holds more."""
    scheme = params.scheme
    if scheme.bits == 8 * scheme.dtype.itemsize:
        return integers
    ends = [
        gs.Constant(names.fresh(f"{name}/{end}"), np.array(value, scheme.dtype))
        for end, value in (("lowest", scheme.lowest), ("highest", scheme.highest))
    ]
    kept = gs.Variable(names.fresh(f"{name}/clipped"), scheme.dtype, integers.shape)
    graph.nodes.append(gs.Node("Clip", names.fresh(f"{name}/Clip"), inputs=[integers, *ends], outputs=[kept]))
    return kept


def _domain(graph: gs.Graph, params: QParams) -> str | None:
    """Whose QuantizeLinear takes these integers: onnx's, or onnxruntime's."""
    return "com.microsoft" if params.scheme.dtype.itemsize > 1 and graph.opset < WIDE_OPSET else None


def dequantized_weight(graph: gs.Graph, names: Names, tensor: str, rounded: RoundedWeight) -> gs.Tensor:
    """What the readers of a weight are to read: its integers through a DequantizeLinear, outside of all bodies."""
    params = rounded.params
    if params.scheme.steps is Steps.LOGARITHMIC:
        return gs.Constant(names.fresh(f"{tensor}/rounded"), dequantize(rounded.integers, params))
    stored = gs.Constant(names.fresh(f"{tensor}/quantized"), rounded.integers)
    result = gs.Variable(names.fresh(f"{tensor}/dequantized"), np.float32, rounded.integers.shape)
    attrs = {} if params.scheme.axis is None else {"axis": params.scheme.axis}
    name = names.fresh(f"{tensor}/DequantizeLinear")
    inputs = [stored, *_constants(names, tensor, params)]
    graph.nodes.append(gs.Node("DequantizeLinear", name, attrs, inputs, [result], _domain(graph, params)))
    return result


def _constants(names: Names, name: str, params: QParams) -> list[gs.Constant]:
    """Scale and an explicit zero point: without one, engines disagree on its type."""
    return [
        gs.Constant(names.fresh(f"{name}/scale"), params.scale),
        gs.Constant(names.fresh(f"{name}/zero_point"), params.zero_point),
    ]
