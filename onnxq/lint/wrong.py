"""Patterns that OpenVINO 2026.4.1 compiles to integer kernels that compute something else.

Each was found by comparing its outputs with those of the same graph in onnxruntime, computed node by node.
"""

from collections.abc import Iterator

import onnx

from onnxq.graph import HEAVY_OPS
from onnxq.lint.finding import Finding
from onnxq.lint.view import ACTIVATIONS, DEQUANTIZE, MOVES, QUANTIZE, View

POINTWISE = ACTIVATIONS | {
    "Elu",
    "Gelu",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mul",
    "Sigmoid",
    "Tanh",
    "Add",
    QUANTIZE,
}
THIN = (4, 8)  # rows of an MLP that OpenVINO's generated kernel gets wrong
NARROW = 256  # the widest layer it takes into that kernel


def signed_concat(view: View) -> Iterator[Finding]:
    """int8 behind a Concat, or in front of one whose output a quantized layer reads: its numbers are rounded."""
    for node in view.nodes:
        if node.op_type != "Concat":
            continue
        after = view.pairs_behind(node.output[0], MOVES | ACTIVATIONS)
        if not after and _feeds_quantized_layer(view, node.output[0]):
            after = [pair for name in node.input if (pair := view.behind(name, MOVES)) is not None]
        if any(pair.dtype == "int8" and not pair.constant for pair in after):
            yield Finding(
                "signed_concat",
                node.name,
                "wrong",
                "A Concat of int8 integers: OpenVINO rounds what passes through it to whole numbers, which leaves 10 "
                "to 18 dB of the signal.",
                "Use uint8 around the Concat: zero point 0 where nothing is negative, else where the range wants it.",
            )


def _feeds_quantized_layer(view: View, tensor: str) -> bool:
    return any(
        node.op_type in HEAVY_OPS and any(name in view.pairs for name in node.input[:2])
        for node in view.reached(tensor, MOVES)
    )


def maximum_before_quantizer(view: View) -> Iterator[Finding]:
    """A maximum over all positions, of floats, then Q/DQ."""
    for node in view.nodes:
        if node.op_type not in ("GlobalMaxPool", "ReduceMax") or view.behind(node.input[0], MOVES) is not None:
            continue
        if view.pairs_behind(node.output[0], MOVES):
            yield Finding(
                "maximum_before_quantizer",
                node.name,
                "wrong",
                f"{node.op_type} of floats, then Q/DQ: OpenVINO moves the quantization in front of the maximum and "
                "loses the scale, which leaves 12 to 23 dB of the signal.",
                f"Put Q/DQ in front of the {node.op_type} as well.",
            )


def mean_over_tokens(view: View) -> Iterator[Finding]:
    """A mean over axis 1 of three, of integers: wrong from batch 2 (int8, nothing behind) or from 34 to 48 (uint8, Q/DQ
    behind as well)."""
    for node in view.nodes:
        pair = view.pairs.get(node.input[0]) if node.op_type == "ReduceMean" else None
        if pair is None or pair.constant or not _over_tokens(view, node):
            continue
        behind = bool(view.pairs_behind(node.output[0], MOVES))
        if behind if pair.dtype == "uint8" else not behind:
            batch = "48 or more" if behind else "2 or more"
            yield Finding(
                "mean_over_tokens",
                node.name,
                "wrong",
                f"Q/DQ {'on both sides of' if behind else 'only in front of'} a ReduceMean over tokens ({pair.dtype}): "
                f"OpenVINO computes garbage at a batch of {batch}; the first sample is right.",
                "Take the Q/DQ in front of the ReduceMean away, and leave (or put) one behind it.",
            )


def _over_tokens(view: View, node: onnx.NodeProto) -> bool:
    if len(view.shape(node.input[0]) or ()) != 3:
        return False
    written = [entry.ints for entry in node.attribute if entry.name == "axes"]
    axes = view.values(node.input[1]) if len(node.input) > 1 else None
    found = list(written[0]) if written else [] if axes is None else axes.ravel().tolist()
    return found in ([1], [-2])


def thin_mlp(view: View) -> Iterator[Finding]:
    """Two small layers in a row, the first without a bias before its quantizer: one generated kernel, wrong for 4 or 8
    rows."""
    for node in view.heavy:
        if not _plain(view, node) or not _at_risk(view, node.input[0]):
            continue
        followers = list(_next_layers(view, _quantized_products(view, node)))
        if any(_plain(view, follower) for follower in followers):
            yield Finding(
                "thin_mlp",
                node.name,
                "wrong",
                "Two quantized layers in a row, of at most 256 channels, the first without a bias before its "
                "quantizer: OpenVINO makes one kernel of both, which computes garbage for 4 or 8 rows.",
                "Give the first layer a bias (of zeros) as a Gemm, quantize behind it only, and run other batch sizes "
                "until `onnxq check --batch 4 --batch 8` finds nothing.",
            )


def _at_risk(view: View, tensor: str) -> bool:
    shape = view.shape(tensor)
    return shape is not None and len(shape) == 2 and shape[0] in (None, *THIN)


def _plain(view: View, node: onnx.NodeProto) -> bool:
    """A Gemm or MatMul of quantized operands by a small constant matrix."""
    if node.op_type not in ("Gemm", "MatMul") or any(view.behind(name, MOVES) is None for name in node.input[:2]):
        return False
    shape = view.shape(node.input[1])
    return shape is not None and len(shape) == 2 and all(size is not None and size <= NARROW for size in shape)


def _quantized_products(view: View, node: onnx.NodeProto) -> str:
    """The tensor that the layer's products become where no bias is added before they are quantized; else empty."""
    if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]:
        return ""
    return node.output[0] if view.pairs_behind(node.output[0], ACTIVATIONS | {"Identity"}) else ""


def _next_layers(view: View, tensor: str) -> Iterator[onnx.NodeProto]:
    """Layers behind ``tensor`` with nothing but pointwise operators and Q/DQ between."""
    between = POINTWISE | {"Add", QUANTIZE, DEQUANTIZE}
    return (node for node in view.reached(tensor, between) if node.op_type in HEAVY_OPS) if tensor else iter(())


def clipping_dropped(view: View) -> Iterator[Finding]:
    """A 16-bit quantizer right behind a layer, from 0 on: it stands for a Relu, and is dropped."""
    for pair in view.activations:
        maker = view.producers.get(pair.source)
        if pair.dtype not in ("int16", "uint16") or pair.interval is None or pair.interval[0] < 0 or maker is None:
            continue
        if maker.op_type in (*HEAVY_OPS, "Add", "BatchNormalization"):
            yield Finding(
                "clipping_dropped",
                pair.name,
                "wrong",
                f"A {pair.dtype} grid from 0 on, right behind a {maker.op_type}: it does the work of a Relu, which the "
                "quantizer took out. OpenVINO drops 16-bit Q/DQ, and the Relu with it.",
                "Quantize to 8 bits, or keep the Relu.",
            )
