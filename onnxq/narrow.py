"""Which nodes can compute in 16-bit floats, and why the others cannot.

A node stays FP32 where ONNX or the engine has no 16-bit form of it; where a value it reads or makes, or a sum on the
way, does not fit; and behind the last linear layer where values are so large that a 16-bit step is a step of a quarter:
the coordinates of boxes, which are few and which an error of half a pixel spoils.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import HEAVY_OPS, is_constant, subgraph_nodes
from onnxq.planning.tails import before_a_layer
from onnxq.statistics import TensorStatistics

QDQ = ("QuantizeLinear", "DequantizeLinear")
HEADROOM = 4  # between the largest value of the samples and the largest a tensor may have
COARSE = 0.25  # a step this wide is felt behind the last linear layer
_MEANS = ("AveragePool", "GlobalAveragePool", "ReduceMean")


@dataclass(frozen=True)
class FloatType:
    """``dtype`` is ONNX's number; ``largest`` the largest value; below ``smallest``, precision is lost; ``step`` is
    between 1 and the next number; from ``opset`` on, Q, DQ and every common operator know the type."""

    name: str
    dtype: int
    largest: float
    smallest: float
    step: float
    opset: int

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(self.dtype))

    @property
    def word(self) -> str:
        """The type as ONNX's schemas spell it."""
        return f"tensor({onnx.TensorProto.DataType.Name(self.dtype).lower()})"


FLOAT_TYPES = {
    "fp16": FloatType("FP16", onnx.TensorProto.FLOAT16, 65504.0, 2.0**-14, 2.0**-10, opset=19),
    "bf16": FloatType("BF16", onnx.TensorProto.BFLOAT16, 3.3895e38, 2.0**-126, 2.0**-7, opset=22),
}


@dataclass(frozen=True)
class Slots:
    """Which inputs and outputs of a node, by index, are float32 and may be 16-bit floats."""

    inputs: frozenset[int]
    outputs: frozenset[int]


def slots(node: gs.Node, opset: int, to: FloatType) -> Slots:
    """By ONNX's schema. An output whose type no input has is typed by an attribute, and keeps its type."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, node.domain or "")
    except onnx.defs.SchemaError:
        return Slots(frozenset(), frozenset())
    allowed = {c.type_param_str for c in schema.type_constraints if to.word in c.allowed_type_strs}
    taken = {i: word for i, word in _words(schema.inputs, node.inputs) if word in allowed}
    made = {i for i, word in _words(schema.outputs, node.outputs) if word in taken.values()}
    return Slots(frozenset(taken), frozenset(made))


def _words(
    formal: Sequence[onnx.defs.OpSchema.FormalParameter], actual: Sequence[gs.Tensor]
) -> Iterator[tuple[int, str]]:
    """The type words of the float32 tensors among ``actual``; the last formal parameter may stand for many."""
    for index, tensor in enumerate(actual):
        if is_float32(tensor) and formal:
            yield index, formal[min(index, len(formal) - 1)].type_str


def is_float32(tensor: gs.Tensor) -> bool:
    return not isinstance(tensor.dtype, int) and tensor.dtype is not None and np.dtype(tensor.dtype) == np.float32


def touched(graph: gs.Graph) -> set[str]:
    """The float32 tensors that are computed on the way, weights not among them: whose values must be known."""
    return {
        tensor.name
        for node in graph.nodes
        if not (node.op == "DequantizeLinear" and is_constant(node.inputs[0]))
        for tensor in node.outputs
        if is_float32(tensor)
    }


def refusals(
    graph: gs.Graph, to: FloatType, statistics: Mapping[str, TensorStatistics], lacking: frozenset[str]
) -> dict[str, str]:
    """The nodes that stay FP32, of those which compute with floats, and why; the engine is ``lacking`` operators."""
    behind, captured = before_a_layer(graph), _captured(graph)
    found = {}
    for node in graph.nodes:
        if node.op in QDQ or not any(map(is_float32, node.inputs)):
            continue
        tail = node.op not in HEAVY_OPS and node.name not in behind
        reason = _type_reason(node, graph.opset, to, captured) or _value_reason(node, to, statistics, tail)
        if node.op in lacking:
            reason = f"the engine has no {to.name} form of it"
        if reason:
            found[node.name] = f"{node.op}: computes in FP32, for {reason}"
    return found


def _captured(graph: gs.Graph) -> set[int]:
    """Tensors that bodies of If, Loop and Scan read from outside."""
    inner = [entry for node in graph.nodes for entry in subgraph_nodes(node)]
    bodies = [value for node in graph.nodes for value in node.attrs.values() if isinstance(value, gs.Graph)]
    bodies += [value for node in inner for value in node.attrs.values() if isinstance(value, gs.Graph)]
    read = [tensor for node in inner for tensor in node.inputs]
    return {id(tensor) for tensor in (*read, *(output for body in bodies for output in body.outputs))}


def _type_reason(node: gs.Node, opset: int, to: FloatType, captured: set[int]) -> str | None:
    if any(isinstance(value, gs.Graph) for value in node.attrs.values()):
        return "its body is left alone"
    if any(id(tensor) in captured for tensor in node.outputs):
        return "the body of an If or a Loop reads it"
    if not slots(node, opset, to).inputs:
        return f"it has no {to.name} form in ONNX"
    return None


def _value_reason(node: gs.Node, to: FloatType, statistics: Mapping[str, TensorStatistics], tail: bool) -> str | None:
    for tensor in (*node.inputs, *node.outputs):
        reach = _reach(tensor, statistics)
        if reach is None or reach == 0:
            continue
        limit = to.largest if is_constant(tensor) else to.largest / HEADROOM
        if not reach <= limit:  # NaN too
            return f"{tensor.name!r} reaches {reach:.3g}, and {to.name} holds {to.largest:.3g}"
        if reach < to.smallest * to.step * 8 if is_constant(tensor) else reach < to.smallest:
            return f"{tensor.name!r} is at most {reach:.3g}, and {to.name} keeps few digits of that"
        if tail and reach * to.step >= COARSE:
            return f"{tensor.name!r} reaches {reach:.3g}, where {to.name} has steps of {reach * to.step:.2g}"
    summed = (_reach(node.outputs[0], statistics) or 0) * _averaged(node)
    if summed > to.largest:
        return f"the sum of what it averages reaches {summed:.3g}, and {to.name} holds {to.largest:.3g}"
    return None


def _reach(tensor: gs.Tensor, statistics: Mapping[str, TensorStatistics]) -> float | None:
    """The largest magnitude of a float32 tensor, None where it is not known."""
    if not is_float32(tensor):
        return None
    if is_constant(tensor):
        return float(np.max(np.abs(np.asarray(tensor.values, np.float64)), initial=0))
    found = statistics.get(tensor.name)
    return None if found is None else float(np.maximum(abs(found.low), abs(found.high)))


def _averaged(node: gs.Node) -> int:
    """How many values one output of a mean is taken of, as far as shapes tell; 0 for other operators."""
    if node.op not in _MEANS:
        return 0
    if node.op == "AveragePool":
        return math.prod(node.attrs.get("kernel_shape", ()))
    given, made = node.inputs[0].shape or (), node.outputs[0].shape or ()
    sizes = [math.prod(size for size in shape if isinstance(size, int)) for shape in (given, made)]
    return int(sizes[0] // sizes[1]) if all(sizes) else 0
