"""How much work a node is: multiply-accumulates of the linear layers, from their shapes."""

import math
from collections.abc import Mapping, Sequence

import onnx

from onnxq.graph import HEAVY_OPS

Shape = tuple[int, ...]
SHAPE_KEEPING = ("DequantizeLinear", "FastGelu", "Gelu", "QuantizeLinear", "QuickGelu")
"""Operators of onnxruntime's own domain whose output has the shape of their input; ONNX infers no shape behind them."""


def macs(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Multiply-accumulates by node name, for inputs of ``shapes``; nodes whose shapes cannot be told are left out."""
    return macs_of(model, known_shapes(inferred(model, shapes)))


def macs_of(model: onnx.ModelProto, known: Mapping[str, Shape]) -> dict[str, int]:
    """The same, where the shapes of tensors are known already."""
    found = {}
    for node in model.graph.node:
        if node.op_type in HEAVY_OPS and all(name in known for name in (*node.input[:2], node.output[0])):
            found[node.name] = _macs(node, known)
    return found


def inferred(model: onnx.ModelProto, fixed: Mapping[str, Sequence[int]]) -> onnx.GraphProto:
    """The graph with the types and shapes of its tensors once the inputs' shapes are ``fixed``; an empty one where
    nothing can be inferred."""
    fixed_model = onnx.ModelProto()
    fixed_model.CopyFrom(model)
    del fixed_model.graph.value_info[:]
    for value in fixed_model.graph.input:
        if value.name in fixed:
            del value.type.tensor_type.shape.dim[:]
            for size in fixed[value.name]:
                value.type.tensor_type.shape.dim.add().dim_value = size
    for value in fixed_model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for node in fixed_model.graph.node:
        if node.domain == "com.microsoft" and node.op_type in SHAPE_KEEPING:
            node.CopyFrom(onnx.helper.make_node("Identity", node.input[:1], node.output))
    try:
        return onnx.shape_inference.infer_shapes(fixed_model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return onnx.GraphProto()


def known_shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Every shape of which all sizes are known."""
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    given, weight, made = (shapes[name] for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(made) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(given) * math.prod(weight[1:])
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(made) * (given[-2] if transposed else given[-1])
