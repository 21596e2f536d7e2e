"""What every door asks of an ONNX model: its heavy nodes, the node behind an engine's name, and its bytes."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from onnxq.backends.engine import Layer
from onnxq.errors import EngineError
from onnxq.graph import HEAVY_OPS

INTEGER_LAYERS = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
        *("QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),  # onnxruntime's own
    }
)


@dataclass(frozen=True)
class Heavy:
    """A node whose products an engine can compute in integers.

    ``inside`` is the outermost If, Loop or Scan node whose body holds it, or empty in the main graph.
    """

    name: str
    op_type: str
    inside: str = ""


def heavy_nodes(model: onnx.ModelProto) -> tuple[Heavy, ...]:
    """Every Conv, ConvTranspose, Gemm and MatMul, in graph order; subgraphs where their owner stands."""
    return tuple(_walk(model.graph, ""))


def _walk(graph: onnx.GraphProto, inside: str) -> Iterator[Heavy]:
    for node in graph.node:
        if is_heavy(node):
            yield Heavy(node.name, node.op_type, inside)
        for body in _bodies(node):
            yield from _walk(body, inside or node.name)


def is_heavy(node: onnx.NodeProto) -> bool:
    """Whether the node is a standard operator whose products could be integers, or one of those that are."""
    return (node.op_type in HEAVY_OPS and node.domain in ("", "ai.onnx")) or node.op_type in INTEGER_LAYERS


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g


def in_subgraph(heavy: Heavy) -> Layer:
    """The layer of a node in the body of an If, a Loop or a Scan, where nothing is quantized."""
    return Layer(heavy.name, heavy.op_type, "fp32", f"inside a subgraph of {heavy.inside}")


@dataclass(frozen=True)
class Names:
    """The nodes of the main graph by node name, and by the name of each tensor they compute."""

    nodes: Mapping[str, onnx.NodeProto]
    producers: Mapping[str, onnx.NodeProto]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "Names":
        return cls(
            {node.name: node for node in model.graph.node},
            {output: node for node in model.graph.node for output in node.output if output},
        )

    def find(self, name: str, suffix: re.Pattern[str]) -> onnx.NodeProto | None:
        """The node that an engine calls ``name``, after the node itself or after its output.

        Engines append suffixes. They are cut off one at a time, and only as far as needed, because a node
        may really be called ``conv1/Relu``.
        """
        while True:
            node = self.nodes.get(name) or self.producers.get(name)
            shorter = suffix.sub("", name)
            if node is not None or shorter == name:
                return node
            name = shorter

    def heavy_source(self, node: onnx.NodeProto) -> str:
        """The nearest heavy node at or before ``node``, first inputs first; empty if there is none.

        A fused kernel is often named after the last node in it: the ReLU or the bias Add, not the Conv.
        """
        stack, seen = [node], {node.name}
        while stack:
            node = stack.pop()
            if is_heavy(node):
                return node.name
            before = [self.producers[name] for name in reversed(node.input) if name in self.producers]
            stack += [node for node in before if node.name not in seen]
            seen |= {node.name for node in before}
        return ""


def serialize(model: onnx.ModelProto, engine: str) -> bytes:
    """The model as one protobuf message.

    Raises EngineError where weights lie outside the model, or it is larger than a message may be (2 GiB).
    """
    size = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise EngineError(
                f"{engine}: the weights of {tensor.name!r} lie outside the model, which is handed over as one protobuf "
                "message of at most 2 GiB. Load them first, onnx.load(path), or build no engine (--no-build)."
            )
        size += len(tensor.raw_data) or 4 * math.prod(tensor.dims)
    if size > onnx.checker.MAXIMUM_PROTOBUF:
        raise EngineError(
            f"{engine}: the weights take {size / 2**30:.1f} GiB; the model is handed over as one protobuf "
            "message, which holds 2 GiB. Quantize it in parts, or measure a smaller variant of it."
        )
    data: bytes = model.SerializeToString(deterministic=True)
    return data
