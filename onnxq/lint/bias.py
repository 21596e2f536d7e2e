"""Rules on biases. Products are summed on the grid ``activation scale * weight scale``; only there a bias fits in."""

from collections.abc import Iterator

import numpy as np
import onnx

from onnxq.graph import HEAVY_OPS
from onnxq.lint.finding import Finding
from onnxq.lint.view import ACTIVATIONS, MOVES, Pair, View

MEND = "Leave the bias in float, or store it as int32 with scale = activation scale * weight scale."


def biases(view: View) -> Iterator[tuple[onnx.NodeProto, Pair]]:
    for node in view.heavy:
        if node.op_type in HEAVY_OPS and len(node.input) > 2 and node.input[2] in view.pairs:
            yield node, view.pairs[node.input[2]]


def int32_bias(view: View) -> Iterator[Finding]:
    """TensorRT has no DequantizeLinear of int32."""
    for pair in view.pairs.values():
        if pair.dtype == "int32":
            yield Finding(
                "int32_bias",
                pair.node,
                "rejected",
                "A DequantizeLinear of int32, as onnxruntime's quantizer writes for biases. TensorRT's parser knows "
                "none, and refuses the model.",
                "Store the bias in float, without Q/DQ.",
            )


def bias_grid(view: View) -> Iterator[Finding]:
    """onnxruntime fuses a quantized bias only as int32 with scale ``sx * sw``, else it leaves the layer in float."""
    for node, pair in biases(view):
        operands = [view.behind(name, MOVES) for name in node.input[:2]]
        if any(entry is None for entry in operands) or _fits(pair, operands):
            continue
        found = pair.dtype if pair.dtype != "int32" else "int32 with another scale"
        yield Finding(
            "bias_grid",
            node.name,
            "float",
            f"The bias is quantized to {found}. onnxruntime adds a bias to the integer sums only if it is int32 with "
            "scale = activation scale * weight scale, and otherwise runs the whole layer in float.",
            MEND,
        )


def _fits(bias: Pair, operands: list[Pair | None]) -> bool:
    scales = [bias.scale, *(entry.scale for entry in operands if entry is not None)]
    if bias.dtype != "int32" or any(scale is None for scale in scales):
        return False
    found, x, w = (np.asarray(scale, np.float64).ravel() for scale in scales)
    return np.allclose(found, x * w, rtol=1e-3, atol=0)


def float_bias_of_gemm(view: View) -> Iterator[Finding]:
    """onnxruntime's QGemm takes an int32 bias, or makes one where the output is quantized too."""
    for node in view.heavy:
        if node.op_type != "Gemm" or len(node.input) < 3 or not node.input[2] or node.input[2] in view.pairs:
            continue
        quantized = all(view.behind(name, MOVES) is not None for name in node.input[:2])
        if quantized and not view.quantized_alone(node.output[0], MOVES | ACTIVATIONS):
            yield Finding(
                "float_bias_of_gemm",
                node.name,
                "float",
                "A Gemm with quantized operands, a float bias and a float output. onnxruntime has no integer kernel "
                "with such a bias.",
                "Quantize the bias to int32 with scale = activation scale * weight scale, or quantize the output too.",
            )
