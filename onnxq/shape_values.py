"""What is known of shapes that are computed at run time: which entries are numbers, and which are the size of an axis.

Exporters write ``Reshape(x, Concat(Gather(Shape(x), 0), -1))`` where they mean ``Reshape(x, [0, -1])``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import is_constant


@dataclass(frozen=True)
class Size:
    """The size of an axis that is free, named after where it comes from: equal ones are equal at every run."""

    tensor: str
    axis: int


Entry = int | Size | None
"""Of a shape that is computed; None where nothing is known of it."""

SAME_SHAPE = frozenset(
    (
        *("Abs", "BatchNormalization", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish"),
        *("Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg"),
        *("Cast", "PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh"),
    )
)
BROADCAST = frozenset({"Add", "Div", "Mul", "Pow", "Sub"})
SAME_BATCH = frozenset({"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})


@dataclass
class ShapeValues:
    """``sizes``: by tensor, one for each axis; ``values``: by tensor of integers, its entries."""

    sizes: dict[str, list[int | Size]] = field(default_factory=dict)
    values: dict[str, list[Entry]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: gs.Graph) -> "ShapeValues":
        """The nodes must be sorted."""
        known = cls()
        for tensor in graph.inputs:
            known._note(tensor)
        for node in graph.nodes:
            found = known._computed(node)
            if found is not None:
                known.values[node.outputs[0].name] = found
            for tensor in node.outputs:
                known._note(tensor, node)
        return known

    def entries(self, tensor: gs.Tensor) -> list[Entry] | None:
        """Of a tensor of integers with at most one axis; None where nothing is known."""
        if not is_constant(tensor):
            return self.values.get(tensor.name)
        array = np.asarray(tensor.values)
        return [int(value) for value in array.ravel()] if array.dtype.kind in "iu" and array.ndim <= 1 else None

    def _note(self, tensor: gs.Tensor, node: gs.Node | None = None) -> None:
        if tensor.shape is not None and not tensor.is_empty():
            self.sizes[tensor.name] = [
                size if is_number(size) else self._before(node, axis) or Size(tensor.name, axis)
                for axis, size in enumerate(tensor.shape)
            ]

    def _computed(self, node: gs.Node) -> list[Entry] | None:
        """The entries of what the node makes, if it makes a shape out of shapes."""
        if node.op == "Shape":
            sizes = self.sizes.get(node.inputs[0].name)
            return None if sizes is None else [*sizes[node.attrs.get("start", 0) : node.attrs.get("end", len(sizes))]]
        if node.op == "Concat":
            parts = [self.entries(part) for part in node.inputs]
            return (
                [e for part in parts if part is not None for e in part] if all(p is not None for p in parts) else None
            )
        given = self.entries(node.inputs[0]) if node.inputs else None
        if given is None or len(node.outputs[0].shape or (0,)) > 1:
            return None
        if node.op in ("Squeeze", "Unsqueeze", "Identity"):
            return given
        if node.op == "Cast":
            return given if node.outputs[0].dtype in (np.int64, np.int32) else None
        if node.op == "Gather" and is_constant(node.inputs[1]):
            picked = [int(index) for index in np.ravel(node.inputs[1].values)]
            return [given[i] for i in picked] if all(-len(given) <= i < len(given) for i in picked) else None
        return _sliced(node, given) if node.op == "Slice" else None

    def _before(self, node: gs.Node | None, axis: int) -> int | Size | None:
        """The size of an axis of what the node makes, where it is sure to be that of something it reads."""
        if node is None or not node.inputs:
            return None
        if node.op == "Reshape":
            return self._before_reshape(node, axis)
        if node.op in BROADCAST:
            return self._before_broadcast(node, axis)
        index = axis_before(node, axis)
        sizes = self.sizes.get(node.inputs[0].name)
        return sizes[index] if sizes is not None and index is not None and index < len(sizes) else None

    def _before_reshape(self, node: gs.Node, axis: int) -> int | Size | None:
        sizes, wanted = self.sizes.get(node.inputs[0].name), self.entries(node.inputs[1])
        if sizes is None or wanted is None or axis >= len(wanted):
            return None
        if isinstance(wanted[axis], Size):
            return wanted[axis]
        if wanted[axis] == 0 and not node.attrs.get("allowzero", 0):
            return sizes[axis]
        others = [sizes[i] if entry == 0 else entry for i, entry in enumerate(wanted) if i != axis]
        free = [size for size in sizes if isinstance(size, Size)]
        if wanted[axis] == -1 and len(free) == 1 and _product(others) == _product([s for s in sizes if s != free[0]]):
            return free[0]
        return None

    def _before_broadcast(self, node: gs.Node, axis: int) -> int | Size | None:
        """That of the operand which is not repeated: the other has 1 there, or the same."""
        made = node.outputs[0].shape
        if made is None or len(node.inputs) != 2:
            return None
        first, second = (self._from_right(tensor, len(made) - axis) for tensor in node.inputs)
        if first == 1 or second == 1:
            return second if first == 1 else first
        return first if first == second else None

    def _from_right(self, tensor: gs.Tensor, count: int) -> int | Size | None:
        """1 where it has no such axis, None where its rank is not known."""
        sizes = list(tensor.values.shape) if is_constant(tensor) else self.sizes.get(tensor.name)
        if sizes is None:
            return None
        return sizes[len(sizes) - count] if count <= len(sizes) else 1


def is_number(size: int | str) -> bool:
    """Some exporters write -1 for a free size."""
    return isinstance(size, int) and size >= 0


def axis_before(node: gs.Node, axis: int) -> int | None:
    """The axis of the first input that has the size of this axis of the output, whatever that is."""
    rank = None if node.inputs[0].shape is None else len(node.inputs[0].shape)
    if node.op in SAME_SHAPE or (node.op in SAME_BATCH and axis == 0):
        return axis
    if node.op in ("Flatten", "Gemm"):
        plain = node.attrs.get("axis", 1) == 1 and not node.attrs.get("transA", 0)
        return 0 if axis == 0 and plain else None
    if node.op == "Transpose":
        perm = node.attrs.get("perm")
        return int(perm[axis]) if perm and axis < len(perm) else None
    if rank is None:
        return None
    if node.op == "MatMul":
        weight = node.inputs[1]
        return axis if is_constant(weight) and len(weight.shape) == 2 and axis < rank - 1 else None
    if node.op in ("Concat", "Split"):
        return axis if axis != node.attrs.get("axis", 0) % rank else None
    if node.op == "Slice":
        if len(node.inputs) < 4 or not is_constant(node.inputs[3]):
            return None
        return axis if axis not in [int(cut) % rank for cut in node.inputs[3].values] else None
    return None


def _sliced(node: gs.Node, given: list[Entry]) -> list[Entry] | None:
    if not all(is_constant(tensor) and np.size(tensor.values) == 1 for tensor in node.inputs[1:]):
        return None
    numbers = [int(np.ravel(tensor.values)[0]) for tensor in node.inputs[1:]]
    start, end, step = numbers[0], numbers[1], numbers[3] if len(numbers) > 3 else 1
    return given[start:end:step] if step > 0 else None


def _product(entries: Sequence[Entry]) -> int | None:
    numbers = [entry for entry in entries if isinstance(entry, int) and entry > 0]
    return math.prod(numbers) if len(numbers) == len(entries) else None
