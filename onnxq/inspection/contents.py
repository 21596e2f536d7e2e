"""What is in a model file: who made it, what it is fed and gives, its operators with their work and bytes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from onnxq.cost import Shape, inferred, known_shapes, macs_of
from onnxq.graph import HEAVY_OPS
from onnxq.inputs import described, input_specs
from onnxq.inspection.sample_shapes import SampleShapes
from onnxq.lean import Lean
from onnxq.model import is_quantized
from onnxq.outside import byte_size
from onnxq.packing import PACKED

STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Operator:
    """All nodes of one type, those in bodies of If, Loop and Scan included. ``macs`` and ``output_bytes`` are of a
    sample, and of those nodes of the main graph whose shapes are known: None where there is no such node, and for
    MACs where the type is no linear layer. ``weight_bytes``: of what the file holds, each counted at its first reader.
    """

    op: str
    nodes: int
    macs: int | None
    weight_bytes: int
    output_bytes: int | None


@dataclass(frozen=True)
class Initializer:
    """A tensor that the file holds: an initializer, or what a Constant node makes."""

    name: str
    kind: str  # dtype and shape
    bytes: int


@dataclass(frozen=True)
class Contents:
    """``inputs`` and ``outputs``: dtype and shape by name. ``shapes`` and ``samples``: of the run that MACs were
    counted for. ``uncounted``: linear layers whose MACs are not known, since sizes are free. ``initializers``: the
    largest first."""

    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    quantized: bool
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    shapes: SampleShapes
    parameters: int
    weight_bytes: int
    macs: int
    layers: int
    uncounted: tuple[str, ...]
    operators: tuple[Operator, ...]
    initializers: tuple[Initializer, ...]


def contents(model: onnx.ModelProto, shapes: SampleShapes, folded: onnx.ModelProto | None = None) -> Contents:
    """The contents of a model as it is; nothing is computed but shapes. Those that depend on what exporters left to be
    computed are those of the same model with constants ``folded``."""
    lean = Lean.of(model).model
    graphs = [inferred(entry, shapes.shapes) for entry in (folded, lean) if entry is not None]
    known: dict[str, Shape] = {}
    written: dict[str, int] = {}
    for graph in graphs:
        known |= known_shapes(graph)
        written |= _bytes(graph, shapes.samples)
    work = {name: count // shapes.samples for name, count in macs_of(lean, known).items()}
    layers = [node.name for node in model.graph.node if node.op_type in HEAVY_OPS]
    held = list(_held(model.graph))
    initializers = [Initializer(name, _kind(tensor), _size(tensor)) for name, tensor in held]
    return Contents(
        " ".join(filter(None, (model.producer_name, model.producer_version))),
        model.ir_version,
        {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        is_quantized(model),
        {spec.name: str(spec) for spec in input_specs(model)},
        {value.name: _described(value) for value in model.graph.output},
        shapes,
        sum(math.prod(tensor.dims) for _, tensor in held),
        sum(tensor.bytes for tensor in initializers),
        sum(work.values()),
        len(layers),
        tuple(name for name in layers if name not in work),
        _operators(model.graph, work, written),
        tuple(sorted(initializers, key=lambda tensor: -tensor.bytes)),
    )


def _operators(graph: onnx.GraphProto, work: Mapping[str, int], written: Mapping[str, int]) -> tuple[Operator, ...]:
    """By type: those with the most work first, then those with the most bytes."""
    nodes: dict[str, list[onnx.NodeProto]] = {}
    weights: dict[str, int] = {}
    for within, node in _every_node(graph):
        op = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
        nodes.setdefault(op, []).append(node)
        weights[op] = weights.get(op, 0) + sum(within.pop(name, 0) for name in node.input)
    found = []
    for op, group in nodes.items():
        counted = [work[node.name] for node in group if node.name in work]
        known = [written[name] for node in group for name in node.output if name in written and op != "Constant"]
        macs, output = sum(counted) if counted else None, sum(known) if known else None
        found.append(Operator(op, len(group), macs, weights[op], output))
    return tuple(sorted(found, key=lambda entry: (-(entry.macs or 0), -entry.weight_bytes, -(entry.output_bytes or 0))))


def _every_node(
    graph: onnx.GraphProto, outer: dict[str, int] | None = None
) -> Iterator[tuple[dict[str, int], onnx.NodeProto]]:
    """Every node with the bytes of what the file holds for it and others, and no node before it has read."""
    within = {} if outer is None else outer
    within.update((name, _size(tensor)) for name, tensor in _here(graph))
    for node in graph.node:
        yield within, node
        for body in _bodies(node):
            yield from _every_node(body, within)


def _held(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every tensor of numbers in the file, by the name that its readers use, those in bodies included."""
    yield from _here(graph)
    for node in graph.node:
        for body in _bodies(node):
            yield from _held(body)


def _here(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Initializers, and what Constant nodes make."""
    made = ((node.output[0], a.t) for node in graph.node if node.op_type == "Constant" for a in node.attribute)
    for name, tensor in (*((tensor.name, tensor) for tensor in graph.initializer), *made):
        if tensor.data_type not in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
            yield name, tensor


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else []))


def _bytes(graph: onnx.GraphProto, samples: int) -> dict[str, int]:
    """Of a sample of every tensor whose shape and type are known."""
    shapes, found = known_shapes(graph), {}
    for value in (*graph.value_info, *graph.output):
        kind = value.type.tensor_type.elem_type
        if value.name in shapes and kind not in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
            size = onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
            found[value.name] = math.prod(shapes[value.name]) * size // samples
    return found


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes in the file, where types of fewer than 8 bits are packed."""
    if tensor.data_type in PACKED:
        return -(-math.prod(tensor.dims) * PACKED[tensor.data_type] // 8)
    return byte_size(tensor)


def _kind(tensor: onnx.TensorProto) -> str:
    return described(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims))


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type == onnx.TensorProto.UNDEFINED:
        return value.type.WhichOneof("value") or "unknown"
    dims = [dim.dim_value if dim.dim_value > 0 else dim.dim_param or None for dim in tensor.shape.dim]
    return described(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), dims)
