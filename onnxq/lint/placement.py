"""Rules on where Q/DQ stand: what is quantized on one side only, and where the engine needs it as well."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from onnxq.lint.finding import Finding
from onnxq.lint.view import ACTIVATIONS, MOVES, Pair, View

FAR = 4  # operators looked back over for the Q/DQ that an explanation names


@dataclass(frozen=True)
class HalfQuantized:
    """A layer with one operand quantized multiplies floats.

    ``carries``: operators that integers pass through. ``rounds_weights``: the engine quantizes a Conv's float weight
    itself, where input and output are quantized.
    """

    carries: frozenset[str]
    title: str
    rounds_weights: bool = False

    def __call__(self, view: View) -> Iterator[Finding]:
        for node in view.heavy:
            pairs = [self._operand(view, name) for name in node.input[:2]]
            if (pairs[0] is None) == (pairs[1] is None) or self._rounds(view, node, pairs[1]):
                continue
            bare = node.input[0] if pairs[0] is None else node.input[1]
            yield Finding("half_quantized", node.name, "float", *self._explain(view, node, bare))

    def _operand(self, view: View, name: str) -> Pair | None:
        """The pair behind an operand. Whatever moves a weight is folded, so all of that may stand before it."""
        pair = view.behind(name, self.carries | MOVES)
        return pair if pair is None or pair.constant else view.behind(name, self.carries)

    def _rounds(self, view: View, node: onnx.NodeProto, weight: Pair | None) -> bool:
        held = self.rounds_weights and node.op_type == "Conv" and weight is None and node.input[1] in view.constants
        return held and view.quantized_alone(node.output[0], ACTIVATIONS | self.carries)

    def _explain(self, view: View, node: onnx.NodeProto, bare: str) -> tuple[str, str]:
        layer = f"{node.op_type} runs in float on {self.title}: "
        if bare in view.constants:
            return layer + "its input is quantized, its weight is not.", "Quantize the weight too: symmetric int8."
        between = self._between(view, bare)
        if between:
            return (
                f"{layer}between the Q/DQ and its input stands {between}, which gives floats again.",
                f"Put Q/DQ behind {between}, right in front of the layer.",
            )
        return (
            f"{layer}one of its operands is quantized, the other is not.",
            "Quantize both operands, or, if only the weight was meant to be small, expect no integer arithmetic.",
        )

    def _between(self, view: View, tensor: str) -> str:
        """The operators between a Q/DQ and ``tensor``, where there is one not far before it."""
        passed: list[str] = []
        while len(passed) < FAR and tensor not in view.pairs:
            node = view.producers.get(tensor)
            if node is None or node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
                return ""
            passed.append(node.op_type)
            tensor = next((name for name in node.input if name in view.pairs), node.input[0] if node.input else "")
        return " and ".join(reversed([op for op in passed if op not in self.carries])) if tensor in view.pairs else ""


@dataclass(frozen=True)
class OutputNeeded:
    """onnxruntime's QLinearConv writes integers: a Conv is one only if nothing but quantizers reads its output."""

    carries: frozenset[str]

    def __call__(self, view: View) -> Iterator[Finding]:
        for node in view.heavy:
            if node.op_type != "Conv" or view.behind(node.input[0], self.carries) is None:
                continue
            if view.quantized_alone(node.output[0], ACTIVATIONS | self.carries):
                continue
            yield Finding("output_needed", node.name, "float", *self._explain(view, node))

    def _explain(self, view: View, node: onnx.NodeProto) -> tuple[str, str]:
        head = "onnxruntime has no Conv with integer inputs and a float output. "
        if view.is_output(node.output[0]):
            return (
                f"{head}The output of this Conv is an output of the model, in float.",
                "Put Q/DQ on that output.",
            )
        ops = sorted({reader.op_type for reader in view.readers(node.output[0])} - {"QuantizeLinear"})
        if ops == ["Relu"] or ops == ["Clip"]:
            ops = [f"{ops[0]} with a float reader"]
        return (
            f"{head}Its output is read by {', '.join(ops)}.",
            "Put Q/DQ between the Conv (with its Relu or Clip) and what reads it, also in front of an Add, a Concat, a "
            "pool and any other activation.",
        )


def matmul_add(view: View) -> Iterator[Finding]:
    """onnxruntime fuses MatMul and the Add of a bias to a Gemm before it looks at Q/DQ, where all sizes are fixed."""
    for node in view.heavy:
        shape = view.shape(node.input[0]) or ()
        if node.op_type != "MatMul" or len(shape) < 2 or None in shape:
            continue
        if any(view.behind(name, MOVES) is None for name in node.input[:2]):
            continue
        adds = view.readers(node.output[0])
        if len(adds) != 1 or adds[0].op_type != "Add" or not any(_is_bias(view, name) for name in adds[0].input):
            continue
        # Around a Gemm of more axes stand Reshapes, and no activation is absorbed past them.
        if not view.quantized_alone(adds[0].output[0], ACTIVATIONS if len(shape) == 2 else ()):
            yield Finding(
                "matmul_add",
                node.name,
                "float",
                "A MatMul, then the Add of a bias without Q/DQ between, and fixed sizes: onnxruntime makes one Gemm of "
                "them, with a float bias, for which it has no integer kernel.",
                "Put Q/DQ between the MatMul and the Add, or let the batch size be dynamic.",
            )


def _is_bias(view: View, name: str) -> bool:
    return name in view.constants and len(view.shape(name) or ()) == 1
