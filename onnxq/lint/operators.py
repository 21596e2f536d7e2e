"""Rules on operators that an engine has no integer kernel for, or a bad one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from onnxq.lint.finding import Finding, Severity
from onnxq.lint.view import DEQUANTIZE, MOVES, QUANTIZE, View
from onnxq.model import QUANTIZED_OPS

INTEGER_OPERATORS = QUANTIZED_OPS - {QUANTIZE, DEQUANTIZE}


@dataclass(frozen=True)
class IntegerOperators:
    """Operators on integers, which other engines than onnxruntime read badly or not at all."""

    ops: frozenset[str]
    severity: Severity
    why: str
    mend: str

    def __call__(self, view: View) -> Iterator[Finding]:
        for node in view.nodes:
            if node.op_type in self.ops:
                yield Finding("integer_operator", node.name, self.severity, f"{node.op_type}: {self.why}", self.mend)


def misread_qlinear_conv(view: View) -> Iterator[Finding]:
    """OpenVINO 2026.4 lays the scales of a QLinearConv along the weight's *input* channels."""
    for node in view.nodes:
        scale = view.values(node.input[4]) if node.op_type == "QLinearConv" else None
        shape = view.shape(node.input[3]) if node.op_type == "QLinearConv" else None
        if scale is None or scale.size == 1 or shape is None:
            continue
        yield Finding(
            "integer_operator",
            node.name,
            "wrong" if shape[1] == shape[0] else "rejected",
            "QLinearConv with a scale per channel: OpenVINO lays the scales along the input channels. It computes "
            "wrong answers where there are as many of these as outputs, and refuses the model elsewhere.",
            "Write the model with Q/DQ nodes (quant_format=QDQ), or give weights one scale.",
        )


def slow_signed_kernels(view: View) -> Iterator[Finding]:
    """onnxruntime makes uint8 of int8 activations in Q/DQ graphs, but takes a QLinearConv as it is."""
    for node in view.nodes:
        if node.op_type not in ("QLinearConv", "ConvInteger"):
            continue
        zero = view.constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and zero.data_type == onnx.TensorProto.INT8:
            yield Finding(
                "slow_signed_kernels",
                node.name,
                "slow",
                "A QLinearConv of int8 activations: onnxruntime's fast kernels multiply uint8 by int8.",
                "Quantize activations to uint8, or write Q/DQ, which onnxruntime turns into uint8 itself.",
            )


@dataclass(frozen=True)
class NoConvTranspose:
    """``asymmetric_only``: symmetric activations are fine."""

    why: str
    mend: str
    asymmetric_only: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for node in view.heavy:
            pair = view.behind(node.input[0], MOVES)
            if node.op_type != "ConvTranspose" or pair is None:
                continue
            if not self.asymmetric_only or pair.dtype != "int8" or not pair.symmetric:
                yield Finding("conv_transpose", node.name, "float", self.why, self.mend)


@dataclass(frozen=True)
class FloatOperator:
    """Q/DQ in front of an operator that works in float, for nobody else: it only costs accuracy."""

    ops: frozenset[str]
    title: str

    def __call__(self, view: View) -> Iterator[Finding]:
        for pair in view.activations:
            found = view.readers(pair.output)
            if found and not view.is_output(pair.output) and all(node.op_type in self.ops for node in found):
                for node in found:
                    yield Finding(
                        "float_operator",
                        node.name,
                        "float",
                        f"{node.op_type} reads a DequantizeLinear, and {self.title} computes it in float: rounding its "
                        "input costs accuracy and wins nothing.",
                        "Take the Q/DQ in front of it away; quantize the inputs of Conv, Gemm and MatMul only.",
                    )


@dataclass(frozen=True)
class BothSides:
    """Operators between integer layers that are integer only if *all* their inputs are quantized.

    ``inputs``: how many of an operator's inputs carry data, None for all.
    """

    inputs: Mapping[str, int | None]
    title: str

    def __call__(self, view: View) -> Iterator[Finding]:
        for node in view.nodes:
            names = [name for name in node.input[: self.inputs.get(node.op_type, 0)] if name]
            if not names or any(name in view.constants for name in names):
                continue
            after = any(reader.op_type == QUANTIZE for name in node.output for reader in view.readers(name))
            if after and not all(view.behind(name, MOVES) is not None for name in names):
                yield Finding(
                    "both_sides",
                    node.name,
                    "slow",
                    f"The output of this {node.op_type} is quantized, not all of its inputs are. {self.title} runs it "
                    "in integers only with Q/DQ on every side; so it runs in float, and so may the layers before it.",
                    "Put Q/DQ in front of every input of it as well.",
                )


def asymmetric_product(view: View) -> Iterator[Finding]:
    """OpenVINO multiplies two activations as integers if both are symmetric, or within the attention it fuses."""
    for node in view.heavy:
        pairs = [view.behind(name, MOVES) for name in node.input[:2]]
        known = [pair for pair in pairs if pair is not None and not pair.constant]
        if node.op_type != "MatMul" or len(known) < 2 or all(pair.symmetric for pair in known):
            continue
        softmax = _softmax_of(view, node, known[0].source)
        if softmax is not None and not _breaks_attention(view, softmax):
            continue
        yield Finding(
            "asymmetric_product",
            node.name,
            "float",
            "A product of two activations, one with a zero point that is not 0. OpenVINO runs it in float"
            + (
                "."
                if softmax is None
                else ": it would fuse attention, but for the asymmetric Q/DQ in front of the Softmax."
            ),
            "Quantize both operands to int8 with zero point 0, and nothing in front of a Softmax.",
        )


def _softmax_of(view: View, node: onnx.NodeProto, first: str) -> onnx.NodeProto | None:
    """The Softmax of the attention that a product belongs to: behind it, or what it multiplies."""
    maker = view.producers.get(first)
    if maker is not None and maker.op_type == "Softmax":
        return maker
    between = MOVES | {"Add", "Div", "Mul", "Where", QUANTIZE, DEQUANTIZE}
    return next((reader for reader in view.reached(node.output[0], between) if reader.op_type == "Softmax"), None)


def _breaks_attention(view: View, softmax: onnx.NodeProto) -> bool:
    pair = view.behind(softmax.input[0], MOVES)
    return pair is not None and not pair.symmetric
