"""QOperator nodes, which read and write integers, become DequantizeLinear, the float operator, and QuantizeLinear.

ONNX: QLinearConv, QLinearMatMul. onnxruntime's own (domain com.microsoft): QGemm, QLinearAdd, QLinearMul,
QLinearConcat, QLinearWhere, the pools and activations. Scales are often products of constants;
they are written as nodes, and read like any other constant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import Names, optional

Inputs = Sequence[gs.Tensor]


@dataclass
class Writer:
    """Writes the nodes that replace ``node``, in order."""

    node: gs.Node
    names: Names
    nodes: list[gs.Node] = field(default_factory=list)

    def given(self, index: int) -> gs.Tensor | None:
        """An input, or None where it is left out."""
        return optional(self.node, index)

    def add(self, op: str, inputs: Inputs, attrs: dict[str, object] | None = None, name: str = "") -> gs.Tensor:
        """A node; what it makes."""
        base = name or f"{self.node.name}/{op}"
        made = gs.Variable(self.names.fresh(f"{base}_output"), np.float32)
        # The float operator takes the name of the node it comes from.
        said = name if name == self.node.name else self.names.fresh(base)
        self.nodes.append(gs.Node(op, said, attrs or {}, list(inputs), [made]))
        return made

    def dequantized(self, first: int, axis: int | None = None) -> gs.Tensor:
        """Inputs ``first`` to ``first + 2``: integers, scale, zero point."""
        found = [self.given(first + i) for i in range(3)]
        if found[0] is None or found[1] is None:
            raise Declined(f"{self.node.op} lacks input {first}")
        attrs: dict[str, object] = {} if axis is None else {"axis": axis}
        return self.add("DequantizeLinear", [entry for entry in found if entry is not None], attrs)

    def quantized(self, real: gs.Tensor, first: int) -> None:
        """The node's output, from ``real``; scale and zero point are inputs ``first`` and ``first + 1``."""
        grid = [entry for entry in (self.given(first), self.given(first + 1)) if entry is not None]
        name = self.names.fresh(f"{self.node.name}/QuantizeLinear")
        self.nodes.append(gs.Node("QuantizeLinear", name, {}, [real, *grid], [self.node.outputs[0]]))

    def main(self, op: str, inputs: Inputs, *drop: str, **attrs: object) -> gs.Tensor:
        """The float operator, with the node's name and its attributes but ``drop``."""
        kept = {key: value for key, value in self.node.attrs.items() if key not in drop}
        return self.add(op, inputs, {**kept, **attrs}, self.node.name)

    def bias(self, index: int, scales: tuple[int, int], factor: float = 1.0) -> list[gs.Tensor]:
        """The int32 bias, on the grid ``activation scale * weight scale``; nothing where there is none."""
        bias = self.given(index)
        if bias is None:
            return []
        scale = self.add("Mul", [self.node.inputs[i] for i in scales])
        if factor != 1:
            constant = gs.Constant(self.names.fresh(f"{self.node.name}/alpha"), np.asarray(factor, np.float32))
            scale = self.add("Mul", [scale, constant])
        return [self.add("DequantizeLinear", [bias, scale], {"axis": 0})]


def _conv(write: Writer) -> None:
    _refuse_channels_last(write.node)
    operands = [write.dequantized(0), write.dequantized(3, axis=0), *write.bias(8, (1, 4))]
    write.quantized(write.main("Conv", operands, "channels_last"), 6)


def _matmul(write: Writer) -> None:
    operands = [_matrix(write, 0, rows=True), _matrix(write, 3, rows=False)]
    write.quantized(write.main("MatMul", operands), 6)


def _matrix(write: Writer, first: int, rows: bool) -> gs.Tensor:
    """An operand of a matrix product: a vector of scales is one per row of the left, per column of the right one."""
    return write.dequantized(first, axis=-2 if rows else -1)


def _gemm(write: Writer) -> None:
    alpha = float(write.node.attrs.get("alpha", 1.0))
    axis = 0 if write.node.attrs.get("transB", 0) else 1
    operands = [write.dequantized(0), write.dequantized(3, axis=axis), *write.bias(6, (1, 4), alpha)]
    real = write.main("Gemm", operands)
    if write.given(7) is None:  # it may write floats
        write.nodes[-1].outputs = [write.node.outputs[0]]
    else:
        write.quantized(real, 7)


def _binary(op: str) -> Callable[[Writer], None]:
    def expand(write: Writer) -> None:
        write.quantized(write.main(op, [write.dequantized(0), write.dequantized(3)]), 6)

    return expand


def _unary(op: str, *drop: str) -> Callable[[Writer], None]:
    def expand(write: Writer) -> None:
        _refuse_channels_last(write.node)
        write.quantized(write.main(op, [write.dequantized(0)], "channels_last", *drop), 3)

    return expand


def _softmax(write: Writer) -> None:
    axis, shape = int(write.node.attrs.get("axis", -1)), write.node.inputs[0].shape
    last = axis == -1 or (shape is not None and axis == len(shape) - 1)
    if int(write.node.attrs.get("opset", 13)) < 13 and not last:
        raise Declined("its QLinearSoftmax runs over several axes at once, as before opset 13")
    write.quantized(write.main("Softmax", [write.dequantized(0)], "opset"), 3)


def _concat(write: Writer) -> None:
    parts = [write.dequantized(first) for first in range(2, len(write.node.inputs), 3)]
    write.quantized(write.main("Concat", parts), 0)


def _where(write: Writer) -> None:
    condition = write.node.inputs[0]
    write.quantized(write.main("Where", [condition, write.dequantized(1), write.dequantized(4)]), 7)


def _refuse_channels_last(node: gs.Node) -> None:
    if node.attrs.get("channels_last", 0):
        raise Declined(f"its {node.op} keeps channels last, as onnxruntime writes after optimizing for one machine")


EXPANSIONS: dict[str, Callable[[Writer], None]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
}


def expand(node: gs.Node, names: Names) -> list[gs.Node]:
    """The nodes that compute what a QOperator node does. Raises Declined."""
    write = Writer(node, names)
    EXPANSIONS[node.op](write)
    node.inputs.clear()
    node.outputs.clear()
    return write.nodes
