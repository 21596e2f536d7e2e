"""Rules on the grids of activations."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from onnxq.lint.finding import Finding, Severity
from onnxq.lint.view import ACTIVATIONS, MOVES, Pair, View, attribute


@dataclass(frozen=True)
class PerChannelActivation:
    """One scale per channel: products of different channels cannot be summed as integers.

    ``depthwise``: the engine has a kernel for it where no channels are summed.
    """

    depthwise: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for pair in view.activations:
            if pair.axis is None or (pair.scale is not None and pair.scale.size == 1):
                continue
            layers = [
                node for node in view.layers_reading(pair, MOVES) if not (self.depthwise and _depthwise(view, node))
            ]
            if layers:
                yield Finding(
                    "per_channel_activation",
                    pair.name,
                    "float",
                    "An activation has one scale per channel. A layer sums over channels, so it cannot work on such "
                    "integers and runs in float, with a quantization in front that costs time.",
                    "Give the activation one scale for the whole tensor; keep scales per channel for weights.",
                )


def _depthwise(view: View, node: onnx.NodeProto) -> bool:
    shape = view.shape(node.input[1])
    return node.op_type == "Conv" and attribute(node, "group", 1) > 1 and shape is not None and shape[1] == 1


@dataclass(frozen=True)
class IntegerType:
    """Integers of another width or kind than the engine's kernels take. ``dtypes`` are those it knows nothing of."""

    dtypes: frozenset[str]
    severity: Severity
    why: str
    weights: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for pair in view.pairs.values():
            if pair.dtype in self.dtypes and (self.weights or not pair.constant):
                yield Finding(
                    "integer_type",
                    pair.name,
                    self.severity,
                    f"{pair.dtype}: {self.why}",
                    "Quantize to 8 bits: int8, or uint8 where the engine takes it.",
                )


def asymmetric(view: View) -> Iterator[Finding]:
    """TensorRT's parser takes zero points of 0 only."""
    for pair in view.pairs.values():
        if not pair.symmetric:
            yield Finding(
                "asymmetric",
                pair.name,
                "rejected",
                "A zero point that is not 0. TensorRT takes symmetric quantization only, and refuses the model.",
                "Quantize symmetrically: int8, zero point 0, scale = largest magnitude / 127.",
            )


def unsigned(view: View) -> Iterator[Finding]:
    """A uint8 grid from 0 is accepted, and compiled as int8; stored uint8 is not accepted."""
    for pair in view.pairs.values():
        if pair.dtype != "uint8" or not pair.symmetric or not (pair.spelled_out or pair.constant):
            continue
        stored = pair.quantizer is None and pair.constant
        yield Finding(
            "unsigned",
            pair.name,
            "rejected" if stored else "wrong",
            "Integers stored as uint8. TensorRT takes int8, and refuses the model."
            if stored
            else "uint8 with zero point 0. TensorRT accepts it and compiles an int8 quantizer, whose integers end at "
            "127: the upper half of the range is cut off.",
            "Quantize to int8 with zero point 0; the scale then is twice as large.",
        )


def missing_zero_point(view: View) -> Iterator[Finding]:
    """ONNX reads a QuantizeLinear without zero point as uint8, TensorRT as int8."""
    for pair in view.activations:
        if pair.quantizer is not None and not pair.spelled_out and not attribute(pair.quantizer, "output_dtype", 0):
            yield Finding(
                "missing_zero_point",
                pair.name,
                "wrong",
                "QuantizeLinear without a zero point is uint8 in ONNX, so onnxruntime clips everything negative to 0; "
                "TensorRT takes it for int8. What you measured in onnxruntime is not what TensorRT computes.",
                "Write the zero point out: an int8 0.",
            )


@dataclass(frozen=True)
class ScaleNotPositive:
    """``everywhere``: weights too, where one dead channel is enough."""

    severity: Severity
    why: str
    everywhere: bool

    def __call__(self, view: View) -> Iterator[Finding]:
        for pair in view.pairs.values():
            if (
                pair.scale is not None
                and np.min(pair.scale.astype(np.float64), initial=1.0) <= 0
                and (self.everywhere or not pair.constant)
            ):
                yield Finding(
                    "scale_not_positive",
                    pair.name,
                    self.severity,
                    f"A scale that is 0 or negative. {self.why}",
                    "Give tensors and channels that are all zeros a small positive scale: their integers are 0 anyway.",
                )


@dataclass(frozen=True)
class ScaleAtRunTime:
    """Kernels have their scales built in."""

    severity: Severity
    why: str
    crashes: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for pair in view.pairs.values():
            if pair.scale is None and not _folds(view, view.producers.get(_scale(view, pair))):
                yield Finding(
                    "scale_at_run_time",
                    pair.name,
                    self.severity,
                    f"The scale is computed at run time. {self.why}",
                    "Make scales initializers: calibrate, and quantize statically.",
                    self.crashes,
                )


def _scale(view: View, pair: Pair) -> str:
    node = view.producers[pair.output]
    return str(node.input[1])


def _folds(view: View, node: onnx.NodeProto | None) -> bool:
    """Whether what the node computes depends on constants alone, so that any engine folds it."""
    waiting, seen = [node], {""}
    while waiting:
        here = waiting.pop()
        if here is None:
            return False
        fresh = set(here.input) - seen - view.constants.keys()
        seen |= fresh
        waiting += [view.producers.get(name) for name in fresh]
    return True


def relu_not_absorbed(view: View) -> Iterator[Finding]:
    """onnxruntime drops a Relu or Clip only where the grid behind it ends where the activation does."""
    for pair in view.activations:
        act = view.producers.get(pair.source)
        if act is None or act.op_type not in ACTIVATIONS or pair.interval is None:
            continue
        maker = view.producers.get(act.input[0])
        if maker is None or maker.op_type != "Conv" or len(view.readers(act.input[0])) > 1:
            continue
        low, high = _range(view, act)
        least, most = pair.interval
        slack = 1e-5 * (most - least)
        if least < low - slack or most > high + slack:
            yield Finding(
                "relu_not_absorbed",
                maker.name,
                "float",
                f"Between the Conv and its quantizer stands a {act.op_type} that the grid ({pair.dtype}, {least:.3g} "
                f"to {most:.3g}) does not make redundant. onnxruntime then fuses it into a float Conv.",
                "Let the grid begin where the activation does (uint8 with zero point 0, or int8 with -128), and end "
                "where a Clip does.",
            )


def _range(view: View, act: onnx.NodeProto) -> tuple[float, float]:
    if act.op_type == "Relu":
        return 0.0, np.inf
    ends = [view.values(name) if name else None for name in act.input[1:3]]
    ends += [None] * (2 - len(ends))
    return (
        -np.inf if ends[0] is None else float(ends[0].ravel()[0]),
        np.inf if ends[1] is None else float(ends[1].ravel()[0]),
    )


def signed_branch(view: View) -> Iterator[Finding]:
    """onnxruntime turns int8 activations into uint8, for which its kernels are made; but only those with one reader."""
    for node in view.heavy:
        given = view.behind(node.input[0], MOVES)
        integer = view.quantized_alone(node.output[0], MOVES | ACTIVATIONS)
        if given is None or (node.op_type == "Conv" and not integer):
            continue
        made = view.pairs_behind(node.output[0], MOVES | ACTIVATIONS) if integer else []
        left = [pair for pair in (given, *made) if _stays_signed(view, pair)]
        if left:
            yield Finding(
                "signed_branch",
                node.name,
                "float",
                "An int8 activation with several readers, at this layer's input or output. onnxruntime turns int8 "
                "activations with one reader into uint8, as its kernels want them, and leaves those: the layer runs in "
                "float.",
                "Quantize activations to uint8.",
            )


def _stays_signed(view: View, pair: Pair) -> bool:
    if pair.dtype != "int8" or pair.quantizer is None:
        return False
    copies = len(view.readers(pair.quantizer.output[0]))
    return copies + len(view.readers(pair.output)) + view.is_output(pair.output) > 2


def int8_before_move(view: View) -> Iterator[Finding]:
    """onnxruntime 1.31 moves a DequantizeLinear past operators that only move numbers, and from opset 21 on writes a
    QuantizeLinear there whose int8 contradicts its zero point."""
    if view.opset < 21:
        return
    for pair in view.activations:
        if pair.dtype != "int8" or view.producers[pair.output].domain not in ("", "ai.onnx"):
            continue
        for node in view.readers(pair.output):
            if _is_moved_past(view, node) and not view.quantized_alone(node.output[0]):
                yield Finding(
                    "int8_before_move",
                    pair.name,
                    "rejected",
                    f"An int8 DequantizeLinear is read by a {_what(node)}, at opset {view.opset}. onnxruntime moves it "
                    "behind that, writes an invalid QuantizeLinear on the way, and refuses the model "
                    '("output_dtype INT8 does not match y_zero_point type UINT8").',
                    "Put Q/DQ behind that operator too, use uint8, or export with opset 20 or older.",
                )


def _is_moved_past(view: View, node: onnx.NodeProto) -> bool:
    if node.op_type in ("MaxPool", "Transpose", "Reshape", "Slice", "Squeeze", "Unsqueeze"):
        return True
    return node.op_type == "MatMul" and _becomes_gemm(view, node) and len(view.shape(node.input[0]) or ()) > 2


def _becomes_gemm(view: View, node: onnx.NodeProto) -> bool:
    """Whether onnxruntime makes a Gemm, with Reshapes around, of a MatMul and the Add behind it."""
    shape, adds = view.shape(node.input[0]), view.readers(node.output[0])
    if shape is None or None in shape or len(adds) != 1 or adds[0].op_type != "Add":
        return False
    return any(len(view.shape(name) or ()) == 1 and name in view.constants for name in adds[0].input)


def _what(node: onnx.NodeProto) -> str:
    return "MatMul that becomes a Reshape and a Gemm" if node.op_type == "MatMul" else node.op_type
