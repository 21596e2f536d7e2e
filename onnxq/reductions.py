"""Take the extremes of tensors, and an evenly spread part of their values, inside the graph.

What leaves the graph is small then: a large tensor is neither copied out of it nor read again by one thread. Images are
reduced by pooling, which onnxruntime does on the blocked layout that its convolutions have, without undoing it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.lean import Lean
from onnxq.normalise import opset
from onnxq.thinning import ROW, Reduced, every_nth, is_image, lattice

LEAST = 2**12  # numbers of a sample: of a smaller tensor all are taken out, which costs less than three more nodes
MAKERS = ("Div", "Sqrt", "Log", "Pow", "Mod", "Asin", "Acos", "Acosh", "Atanh", "Reciprocal")  # of NaN from numbers
BODIES = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
HUGE = 1e15  # products of larger numbers may become infinite, and their sums NaN
BLOCK = 16  # channels that onnxruntime keeps together; such images it also joins so
Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Some columns of an output; all of them without an ``end``."""

    output: str
    begin: int = 0
    end: int | None = None


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model that make a ``Reduced``, by what they are in it; ``shape``: of a row of the tensor."""

    parts: Mapping[str, Part]
    shape: Shape

    @property
    def bytes(self) -> int:
        """Of a row of the tensor itself."""
        return 4 * math.prod(self.shape)

    @property
    def outside(self) -> int:
        """Of what is made of a row, at most."""
        return 4 * min(math.prod(self.shape), ROW) * len(self.parts)

    def of(self, seen: Mapping[str, Any]) -> Reduced:
        rows = {field: seen[part.output].reshape(len(seen[part.output]), -1) for field, part in self.parts.items()}
        return Reduced(
            self.shape, **{field: rows[field][:, part.begin : part.end] for field, part in self.parts.items()}
        )


class Wanted(Protocol):
    """What is wanted of a ``tensor``: its extremes; with ``histogram`` some of its values; with ``nan`` whether it has
    any."""

    @property
    def tensor(self) -> str: ...

    @property
    def histogram(self) -> bool: ...

    @property
    def nan(self) -> bool: ...


def reduce(model: onnx.ModelProto, wanted: Iterable[Wanted]) -> dict[str, Outputs]:
    """Add nodes to ``model`` that reduce those of the tensors that are large and of known shape, by tensor. What they
    make is no output yet."""
    shapes = _shapes(model.graph)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    prefix = unused_prefix(model.graph)
    added: dict[str, Outputs] = {}
    for one in wanted:
        shape = shapes.get(one.tensor)
        if shape is not None and one.tensor in makers and math.prod(shape) >= LEAST:
            kind = _Pools if is_image(shape) else _Rows
            nodes = kind(model, one.tensor, shape, f"{prefix}{one.tensor}")
            asked = {"high": True, "total": one.nan, "low": makers[one.tensor] != "Relu", "some": one.histogram}
            parts = {field: Part(getattr(nodes, field)()) for field, needed in asked.items() if needed}
            added[one.tensor] = Outputs(parts, shape)
    return added | _together(model, {tensor: added[tensor] for tensor in _one_row_a_sample(model.graph) & added.keys()})


def _together(model: onnx.ModelProto, added: Mapping[str, Outputs]) -> dict[str, Outputs]:
    """Images whose extremes are taken out in one piece: a small output takes longer than what is in it."""
    images = {tensor: made for tensor, made in sorted(added.items()) if is_image(made.shape)}
    parts = {tensor: dict(made.parts) for tensor, made in images.items()}
    alike: dict[tuple[str, int, bool], list[str]] = {}
    for tensor, made in images.items():
        for field in made.parts.keys() - {"some"}:
            rank = 2 if field == "low" else 1 + len(made.shape)
            alike.setdefault((field, rank, made.shape[0] % BLOCK == 0), []).append(tensor)
    for (field, *_), tensors in sorted(alike.items()):
        output, end = f"{unused_prefix(model.graph)}{field}", 0
        sources = [parts[tensor][field].output for tensor in tensors]
        model.graph.node.append(onnx.helper.make_node("Concat", sources, [output], axis=1))
        for tensor in tensors:
            begin, end = end, end + images[tensor].shape[0]
            parts[tensor][field] = Part(output, begin, end)
    return {tensor: Outputs(parts[tensor], made.shape) for tensor, made in images.items()}


def _one_row_a_sample(graph: onnx.GraphProto) -> set[str]:
    """The tensors whose first axis is known to be that of the inputs."""
    every = (*graph.input, *graph.value_info, *graph.output)
    firsts = {value.name: _first(value) for value in every}
    batch = {firsts[value.name] for value in graph.input}
    return {name for name, first in firsts.items() if first is not None and batch == {first}}


def _first(value: onnx.ValueInfoProto) -> int | str | None:
    sizes = value.type.tensor_type.shape.dim[:1]
    return next((size.dim_value or size.dim_param or None for size in sizes), None)


def row_bytes(graph: onnx.GraphProto, tensors: Iterable[str]) -> int | None:
    """Of float32 tensors together, a sample; None where the shape of one is not known, or what a row of it is of."""
    shapes, rows, total = _shapes(graph), _one_row_a_sample(graph), 0
    for tensor in tensors:
        if tensor not in shapes or tensor not in rows:
            return None
        total += 4 * math.prod(shapes[tensor])
    return total


def makes_nan(lean: Lean) -> bool:
    """Whether some operator may make NaN from numbers that are not huge, or a constant brings it."""
    graph = lean.model.graph
    if any(_odd(node) for node in graph.node):
        return True
    floats = (tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    with np.errstate(over="ignore", invalid="ignore"):  # a sum of large numbers that overflows is looked into, no more
        return any(not np.isfinite(lean.numbers(tensor).sum()) for tensor in floats)


def _odd(node: onnx.NodeProto) -> bool:
    bodies = any(attribute.type in BODIES for attribute in node.attribute)
    return bodies or node.op_type in MAKERS or node.domain not in ("", "ai.onnx")


def add_node(model: onnx.ModelProto, op: str, source: str, output: str, *given: list[int], **attributes: Any) -> str:
    """Add a node of constant inputs behind ``source`` to a model; what its ``output`` is called, which is free."""
    constants = [f"{output}/{i}" for i in range(len(given))]
    for name, values in zip(constants, given, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    model.graph.node.append(onnx.helper.make_node(op, [source, *constants], [output], **attributes))
    return output


def add_reduction(model: onnx.ModelProto, op: str, source: str, output: str, axes: list[int]) -> str:
    """Add a reduction over ``axes``, which some opset made an input."""
    if opset(model) >= (13 if op == "ReduceSum" else 18):
        return add_node(model, op, source, output, axes, keepdims=0)
    return add_node(model, op, source, output, axes=axes, keepdims=0)


def every(outputs: Iterable[Outputs]) -> list[str]:
    """The names of all of them."""
    return [part.output for entry in outputs for part in entry.parts.values()]


def unused_prefix(graph: onnx.GraphProto) -> str:
    """What no name of a tensor begins with."""
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    names = given.union(*(node.output for node in graph.node))
    prefix = "reduced/"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Of float32 tensors behind their first axis, where every size is known."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        sizes = tuple(dim.dim_value for dim in kind.shape.dim[1:])
        if kind.elem_type == onnx.TensorProto.FLOAT and sizes and all(size > 0 for size in sizes):
            found[value.name] = sizes
    return found


@dataclass(frozen=True)
class _Nodes:
    """Adds nodes for one tensor to a model; their names begin with ``base``."""

    model: onnx.ModelProto
    tensor: str
    shape: Shape
    base: str

    def add(self, what: str, op: str, *given: list[int], source: str = "", **attributes: Any) -> str:
        """A node of constant inputs behind ``source``, or the tensor; what its output is called."""
        return add_node(self.model, op, source or self.tensor, f"{self.base}/{what}", *given, **attributes)

    def reduction(self, what: str, op: str, axes: list[int]) -> str:
        """Of the tensor, over ``axes``."""
        return add_reduction(self.model, op, self.tensor, f"{self.base}/{what}", axes)


class _Pools(_Nodes):
    """For images."""

    def high(self) -> str:
        return self.add("high", "GlobalMaxPool")

    def total(self) -> str:
        return self.add("total", "GlobalAveragePool")

    def low(self) -> str:
        return self.reduction("low", "ReduceMin", list(range(2, len(self.shape) + 1)))

    def some(self) -> str:
        steps = lattice(self.shape)
        return self.add("some", "MaxPool", kernel_shape=[1] * len(steps), strides=list(steps))


class _Rows(_Nodes):
    """For vectors, and everything else that is made of them."""

    def high(self) -> str:
        return self.reduction("high", "ReduceMax", [len(self.shape)])

    def total(self) -> str:
        return self.reduction("total", "ReduceSum", [len(self.shape)])

    def low(self) -> str:
        return self.reduction("low", "ReduceMin", [len(self.shape)])

    def some(self) -> str:
        flat = self.add("flat", "Reshape", [0, -1])
        return self.add("some", "Slice", [0], [np.iinfo(np.int64).max], [1], [every_nth(self.shape)], source=flat)
