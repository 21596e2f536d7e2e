"""A quantized graph as rules look at it: its Q/DQ pairs, what they quantize, and who reads them. Nothing changes it.

Only the main graph is seen: engines run bodies of If, Loop and Scan in float.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxq.backends.heavy import is_heavy
from onnxq.graph import HEAVY_OPS
from onnxq.inputs import Array
from onnxq.normalise import opset

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
DEPTH = 16  # nodes between a constant and its DequantizeLinear
# An operator that moves numbers about, and so may stand between a weight and the layer that reads it.
MOVES = frozenset({"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Expand", "Dropout"})
# An operator all of whose inputs are data.
JOINS = frozenset({"Add", "Concat", "Conv", "ConvTranspose", "Div", "Gemm", "MatMul", "Mul", "Sub", "Where"})
JOINED = frozenset({"MaxPool", "Concat", "Pad", "Split"})
ACTIVATIONS = frozenset({"Relu", "Clip"})  # they vanish into a quantizer whose range ends where theirs does


@dataclass(frozen=True, eq=False)
class Pair:
    """A DequantizeLinear, with the QuantizeLinear in front of it if there is one.

    ``source`` is the tensor that is quantized, or the initializer that holds integers. ``scale`` and ``zero_point``
    are None where they are computed at run time; a zero point left out is zeros, and ``spelled_out`` is false.
    ``axis`` is None for one grid per tensor. ``constant``: a weight or a bias, not an activation. ``clipped``: a Clip
    stands between Q and DQ.
    """

    node: str
    quantizer: onnx.NodeProto | None
    source: str
    output: str
    dtype: str
    scale: Array | None
    zero_point: Array | None
    spelled_out: bool
    axis: int | None
    block: int
    constant: bool
    clipped: bool

    @property
    def name(self) -> str:
        """The node a finding is about: where integers begin."""
        return self.quantizer.name if self.quantizer is not None else self.node

    @property
    def symmetric(self) -> bool:
        """Whether zero is the integer 0; true where that is only known at run time."""
        return self.zero_point is None or not np.any(self.zero_point)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The least and the greatest real on the grid, over all channels; None where it is not known."""
        if self.scale is None or self.zero_point is None or self.dtype not in ("int8", "uint8", "int16", "uint16"):
            return None
        ends = np.iinfo(self.dtype)
        zero, scale = self.zero_point.astype(np.float64), self.scale.astype(np.float64)
        return float(np.min((ends.min - zero) * scale)), float(np.max((ends.max - zero) * scale))


@dataclass(frozen=True)
class View:
    """The main graph: ``pairs`` by the tensor their DequantizeLinear makes, and who makes and reads every tensor."""

    model: onnx.ModelProto
    opset: int
    pairs: Mapping[str, Pair]
    constants: Mapping[str, onnx.TensorProto]
    producers: Mapping[str, onnx.NodeProto]
    consumers: Mapping[str, tuple[onnx.NodeProto, ...]]
    shapes: Mapping[str, tuple[int | None, ...]]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "View":
        graph = model.graph
        producers = {name: node for node in graph.node for name in node.output if name}
        consumers: dict[str, tuple[onnx.NodeProto, ...]] = {}
        for node in graph.node:
            for name in dict.fromkeys(filter(None, node.input)):
                consumers[name] = (*consumers.get(name, ()), node)
        constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                constants.update((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")
        pairs = {node.output[0]: _pair(node, producers, constants) for node in graph.node if node.op_type == DEQUANTIZE}
        return cls(model, opset(model), pairs, constants, producers, consumers, _shapes(model))

    @property
    def nodes(self) -> Iterable[onnx.NodeProto]:
        return self.model.graph.node

    @property
    def heavy(self) -> Iterator[onnx.NodeProto]:
        """Every Conv, ConvTranspose, Gemm and MatMul."""
        return (node for node in self.nodes if is_heavy(node) and node.op_type in HEAVY_OPS)

    @property
    def activations(self) -> Iterator[Pair]:
        return (pair for pair in self.pairs.values() if not pair.constant)

    def readers(self, tensor: str) -> tuple[onnx.NodeProto, ...]:
        return self.consumers.get(tensor, ())

    def is_output(self, tensor: str) -> bool:
        return any(output.name == tensor for output in self.model.graph.output)

    def values(self, tensor: str) -> Array | None:
        """The numbers of a constant."""
        return _values(self.constants.get(tensor))

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """None for an axis whose size is not fixed; None for all where even the rank is not known."""
        return self.shapes.get(tensor)

    def behind(self, tensor: str, carries: Iterable[str]) -> Pair | None:
        """The pair that makes ``tensor``, seen through operators that pass integers on."""
        while tensor not in self.pairs:
            node = self.producers.get(tensor)
            if node is None or node.op_type not in carries:
                return None
            if node.op_type == "Concat":
                return self._concatenated(node, carries)
            tensor = node.input[0]
        return self.pairs[tensor]

    def _concatenated(self, node: onnx.NodeProto, carries: Iterable[str]) -> Pair | None:
        """The grid of all inputs of a Concat, if they share one."""
        found = [self.behind(name, carries) for name in node.input]
        first = found[0]
        return first if first is not None and all(p is not None and same_grid(first, p) for p in found) else None

    def reached(self, tensor: str, through: Iterable[str]) -> Iterator[onnx.NodeProto]:
        """Every node that reads ``tensor``, and those that read what operators of ``through`` make of it."""
        waiting, seen = [tensor], {tensor}
        while waiting:
            name = waiting.pop()
            for node in self.readers(name):
                if node.op_type not in JOINS and name != node.input[0]:
                    continue  # a shape, a scale: not what the node works on
                yield node
                fresh = set(node.output) - seen if node.op_type in through else set()
                seen |= fresh
                waiting += fresh

    def quantized_alone(self, tensor: str, carries: Iterable[str] = ()) -> bool:
        """Whether every reader of ``tensor`` is a QuantizeLinear, seen through operators that pass integers on."""
        found = list(self.reached(tensor, carries))
        passed = [name for node in found if node.op_type in carries for name in node.output]
        ends = [name for name in (tensor, *passed) if self.is_output(name) or not self.readers(name)]
        return bool(found) and not ends and all(node.op_type in (QUANTIZE, *carries) for node in found)

    def layers_reading(self, pair: Pair, carries: Iterable[str]) -> Iterator[onnx.NodeProto]:
        """The heavy nodes that read the pair, seen through operators that pass integers on."""
        return (node for node in self.reached(pair.output, carries) if is_heavy(node))

    def pairs_behind(self, tensor: str, through: Iterable[str]) -> list[Pair]:
        """The pairs that quantize ``tensor``, seen through operators of ``through``."""
        quantizers = [node.name for node in self.reached(tensor, through) if node.op_type == QUANTIZE]
        return [p for p in self.pairs.values() if p.quantizer is not None and p.quantizer.name in quantizers]


def bare_layers(view: View) -> frozenset[str]:
    """The layers none of whose operands is quantized, bodies of If, Loop and Scan left out."""
    return frozenset(
        node.name for node in view.heavy if all(view.behind(name, MOVES | JOINED) is None for name in node.input[:2])
    )


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def same_grid(one: Pair, other: Pair) -> bool:
    known = (one.scale, one.zero_point, other.scale, other.zero_point)
    return (
        one.dtype == other.dtype
        and all(entry is not None for entry in known)
        and np.array_equal(known[0], known[2])  # type: ignore[arg-type]
        and np.array_equal(known[1], known[3])  # type: ignore[arg-type]
    )


def _pair(
    node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> Pair:
    made_by = producers.get(node.input[0])
    clipped = False
    while made_by is not None and made_by.op_type in MOVES | ACTIVATIONS | {"MaxPool"}:
        clipped |= made_by.op_type in ACTIVATIONS
        made_by = producers.get(made_by.input[0])  # integers may be clipped or moved between Q and DQ
    quantizer = made_by if made_by is not None and made_by.op_type == QUANTIZE else None
    source = quantizer.input[0] if quantizer is not None else node.input[0]
    scale = _values(constants.get(node.input[1]))
    zero = node.input[2] if len(node.input) > 2 else ""
    dtype = _dtype(node, quantizer, constants)
    zeros = np.zeros(() if scale is None else scale.shape, np.int8)
    zero_point = _values(constants.get(zero)) if zero else zeros
    per_axis = scale is None or scale.size > 1
    block = attribute(node, "block_size", 0)
    axis = attribute(node, "axis", 1) if per_axis and (scale is None or scale.ndim or block) else None
    spelled = len(quantizer.input) > 2 if quantizer is not None else bool(zero)
    return Pair(
        node.name,
        quantizer,
        source,
        node.output[0],
        dtype,
        scale,
        zero_point,
        spelled,
        axis,
        block,
        _is_constant(source, producers, constants),
        clipped,
    )


def _is_constant(
    tensor: str, producers: Mapping[str, onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> bool:
    """Whether no input of the model is behind it: weights of few bits are packed behind a Cast, and some a Sub."""
    pending, seen = [tensor], set[str]()
    while pending:
        name = pending.pop()
        if name in constants or name in seen:
            continue
        node = producers.get(name)
        if node is None or not node.input or len(seen) > DEPTH:
            return False
        seen.add(name)
        pending += filter(None, node.input)
    return True


def _dtype(node: onnx.NodeProto, quantizer: onnx.NodeProto | None, constants: Mapping[str, onnx.TensorProto]) -> str:
    """The integers' type: of the zero point, of the stored integers, as Q says, or the uint8 that ONNX then assumes."""
    for name in (*node.input[2:3], *(quantizer.input[2:3] if quantizer is not None else ()), node.input[0]):
        if name in constants:
            return onnx.TensorProto.DataType.Name(constants[name].data_type).lower()
    said = attribute(quantizer, "output_dtype", 0) if quantizer is not None else 0
    return onnx.TensorProto.DataType.Name(said).lower() if said else "uint8"


def _values(tensor: onnx.TensorProto | None) -> Array | None:
    return None if tensor is None else onnx.numpy_helper.to_array(tensor)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    found: dict[str, tuple[int | None, ...]] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            found[value.name] = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
    return found
