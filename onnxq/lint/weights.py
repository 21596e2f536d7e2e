"""Rules on the grids of weights."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from onnxq.lint.finding import Finding, Severity
from onnxq.lint.view import MOVES, Pair, View, attribute

INT4 = frozenset({"int4", "uint4"})
FLOAT8 = frozenset({"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"})


def weights(view: View) -> Iterator[tuple[onnx.NodeProto, int, Pair]]:
    """Every (layer, input index, pair) where a layer reads a quantized constant, not its bias."""
    for node in view.heavy:
        for index, name in enumerate(node.input[:2]):
            pair = view.behind(name, MOVES)
            if pair is not None and pair.constant:
                yield node, index, pair


def activation_of(view: View, node: onnx.NodeProto, index: int) -> Pair | None:
    """The pair of the other operand than that at ``index``, if it is quantized."""
    pair = view.behind(node.input[1 - index], MOVES)
    return None if pair is None or pair.constant else pair


@dataclass(frozen=True)
class WeightGrid:
    """Weights must be symmetric int8. ``unsigned_only``: an int8 zero point is no obstacle."""

    severity: Severity
    why: str
    unsigned_only: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for node, index, pair in weights(view):
            wrong = pair.dtype == "uint8" or (pair.dtype == "int8" and not pair.symmetric and not self.unsigned_only)
            if wrong and activation_of(view, node, index) is not None:
                yield Finding(
                    "weight_grid",
                    node.name,
                    self.severity,
                    f"Weights are {pair.dtype}, zero point {'' if pair.symmetric else 'not '}0. {self.why}",
                    "Quantize weights symmetrically to int8: zero point 0.",
                )


@dataclass(frozen=True)
class WeightAxis:
    """Scales per channel must run along the *output* channels: those of an input channel cannot leave the sum.

    ``taken_wrongly``: operators whose integer kernel is chosen nevertheless, with the scales on the wrong channels.
    """

    taken_wrongly: frozenset[str] = frozenset()

    def __call__(self, view: View) -> Iterator[Finding]:
        for node, index, pair in weights(view):
            shape = view.shape(pair.source) or ()
            right = output_axis(node, index, len(shape))
            direct = node.input[index] == pair.output
            if pair.axis is None or pair.block or right is None or not direct or pair.axis % len(shape) == right:
                continue
            found = pair.axis % len(shape)
            severity, then = self._consequence(view, node, index, shape[found] == shape[right])
            yield Finding(
                "weight_axis",
                node.name,
                severity,
                f"The weight of a {node.op_type} has its scales along axis {found}; its output channels are on axis "
                f"{right}. A scale per input channel cannot be taken out of the sum: {then}.",
                f"Quantize the weight along axis {right}, or with one scale.",
            )

    def _consequence(self, view: View, node: onnx.NodeProto, index: int, square: bool) -> tuple[Severity, str]:
        quantized = activation_of(view, node, index) is not None
        if node.op_type not in self.taken_wrongly or not quantized or len(node.input) > 2:
            return "float", "the layer runs in float"
        if square:
            return "wrong", "onnxruntime takes them for scales of output channels, and computes wrong answers"
        return "rejected", "onnxruntime's integer kernel fails when it runs"


def output_axis(node: onnx.NodeProto, index: int, rank: int) -> int | None:
    """The axis of a layer's weight that counts its output channels."""
    if rank < 2:
        return None
    if node.op_type == "Gemm":
        return 1 - attribute(node, "transB", 0) if index == 1 else None
    if node.op_type == "MatMul":
        return rank - 1 if index == 1 else rank - 2
    return int(node.op_type == "ConvTranspose")


@dataclass(frozen=True)
class BlockedInt8:
    """Scales per block of 8-bit weights. ``weight_only``: only where the activation is float; ``fails``: where it is
    not, an integer kernel is chosen that fails when it runs."""

    why: str
    weight_only: bool = False
    fails: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for node, index, pair in weights(view):
            quantized = activation_of(view, node, index) is not None
            if pair.block and pair.dtype in ("int8", "uint8") and not (self.weight_only and quantized):
                yield Finding(
                    "int8_blocks",
                    node.name,
                    "rejected" if self.fails and quantized and node.op_type == "MatMul" else "float",
                    f"8-bit weights with a scale per block of {pair.block}. {self.why}",
                    "Use one scale per output channel for 8 bits; blocks are for 4 bits.",
                )


@dataclass(frozen=True)
class Int4:
    """4-bit weights. ``blocks_only``: those of a MatMul with blocks and a float activation are fine."""

    why: str
    severity: Severity = "float"
    blocks_only: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for node, index, pair in weights(view):
            fine = (
                self.blocks_only and node.op_type != "Conv" and pair.block and activation_of(view, node, index) is None
            )
            if pair.dtype in INT4 and not fine:
                refused = self.blocks_only and node.op_type == "Conv"
                yield Finding(
                    "int4_weights",
                    node.name,
                    "rejected" if refused else self.severity,
                    f"{pair.dtype} weights. {'There is no convolution with 4-bit weights.' if refused else self.why}",
                    "Quantize these weights to int8"
                    + (
                        ", or give 4-bit ones of a MatMul blocks of 16 to 128 along its inner axis."
                        if self.blocks_only
                        else "."
                    ),
                )


def clipped_weights(view: View) -> Iterator[Finding]:
    """OpenVINO folds Q, Clip and DQ of a constant to floats, and then sees no quantized weight."""
    for node, _, pair in weights(view):
        if pair.clipped and node.op_type in ("Conv", "ConvTranspose"):
            yield Finding(
                "clipped_weights",
                node.name,
                "float",
                "A Clip stands between the QuantizeLinear and the DequantizeLinear of the weight, as PyTorch exports "
                "ranges narrower than the type's. OpenVINO folds all three to floats, and the layer runs in float.",
                "Store the weight as int8 behind a DequantizeLinear: `onnxq retarget` does.",
            )
