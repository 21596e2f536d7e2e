"""Patterns that OpenVINO 2026.4.1 compiles to integer kernels that compute something else."""

from collections.abc import Iterator

import onnx

from onnxq.graph import HEAVY_OPS
from onnxq.lint.finding import Finding
from onnxq.lint.view import MOVES, QUANTIZE, View, attribute

POINTWISE = frozenset({"Relu", "Clip", "Gelu", "Sigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "Mul", "Add"})


def signed_concat(view: View) -> Iterator[Finding]:
    """int8 on an input or on the output of a Concat: numbers are rounded to whole ones inside it."""
    for node in view.nodes:
        if node.op_type != "Concat":
            continue
        pairs = [view.behind(name, MOVES) for name in node.input]
        pairs += [pair for q in _quantizers(view, node.output[0]) for pair in _pairs_of(view, q)]
        if any(pair is not None and not pair.constant and pair.dtype == "int8" for pair in pairs):
            yield Finding(
                "signed_concat",
                node.name,
                "wrong",
                "A Concat of int8 integers: OpenVINO rounds what goes through it to whole numbers (10 to 18 dB are left).",
                "Use uint8 around Concat: zero point 0 where nothing is negative, else where the range wants it.",
            )


def _quantizers(view: View, tensor: str) -> Iterator[onnx.NodeProto]:
    """QuantizeLinears behind ``tensor``, seen through operators that move numbers."""
    for node in view.readers(tensor):
        if node.op_type == QUANTIZE:
            yield node
        elif node.op_type in MOVES:
            yield from _quantizers(view, node.output[0])


def _pairs_of(view: View, quantizer: onnx.NodeProto) -> Iterator[object]:
    return (pair for pair in view.pairs.values() if pair.quantizer is quantizer)
