"""Activation functions that squash part of what they read, so that an error there hardly reaches what they make."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import readers

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]


def silu(x: Floats) -> Floats:
    """``x * sigmoid(x)``."""
    return np.asarray(x / (1 + np.exp(-np.clip(x, -500, 500))))


def hard_swish(x: Floats) -> Floats:
    """``x * clip(x / 6 + 1/2, 0, 1)``, of MobileNetV3."""
    return x * np.clip(x / 6 + 0.5, 0, 1)


def gelu(x: Floats) -> Floats:
    """In its form with tanh, which is within 0.001 of the exact one."""
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


FUNCTIONS: Mapping[str, Function] = {"silu": silu, "hard_swish": hard_swish, "gelu": gelu}
_FORMS = {
    ("Mul", "Sigmoid"): "silu",
    ("QuickGelu",): "silu",
    ("HardSwish",): "hard_swish",
    ("HardSigmoid", "Mul"): "hard_swish",
    ("Gelu",): "gelu",
    ("Div", "Mul"): "gelu",  # the erf of x / sqrt(2), and the product with it
}


def function_behind(tensor: gs.Tensor) -> str | None:
    """The name of the activation function that is all that reads the tensor, or None."""
    nodes = [node for node, _ in readers(tensor)]
    name = _FORMS.get(tuple(sorted(node.op for node in nodes)))
    if name is None or len(nodes) == 1:
        return name
    gate, product = sorted(nodes, key=lambda node: node.op == "Mul")
    return name if _reaches(gate, product) else None


def _reaches(gate: gs.Node, product: gs.Node, steps: int = 4) -> bool:
    """Whether the product multiplies by what becomes of the gate, a few operators later (GELU: Erf and Add)."""
    if any(tensor in product.inputs for tensor in gate.outputs):
        return True
    following = [node for tensor in gate.outputs for node, _ in readers(tensor)]
    return steps > 0 and len(following) == 1 and _reaches(following[0], product, steps - 1)
