"""Activation functions that squash part of what they read, so that an error there hardly reaches what they make."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import is_constant, is_output, readers, sole_reader

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
_FORMS: Mapping[tuple[str, ...], tuple[str, tuple[str, ...]]] = {
    # Who reads the tensor: what function that is, and what stands between the first reader and the product.
    ("HardSwish",): ("hard_swish", ()),
    ("Gelu",): ("gelu", ()),
    ("Sigmoid", "Mul"): ("silu", ()),
    ("HardSigmoid", "Mul"): ("hard_swish", ()),
    ("Add", "Mul"): ("hard_swish", ("Clip",)),  # x * clip(x + 3, 0, 6), and a sixth of it
    ("Div", "Mul"): ("gelu", ("Erf", "Add")),  # x * (erf(x / sqrt(2)) + 1), and half of it
}


def function_behind(graph: gs.Graph, tensor: gs.Tensor) -> str | None:
    """The name of the activation function that is all that reads the tensor, or None."""
    nodes = sorted((node for node, _ in readers(tensor)), key=lambda node: node.op == "Mul")
    name, between = _FORMS.get(tuple(node.op for node in nodes), (None, ()))
    if name is None or is_output(graph, tensor):
        return None
    if len(nodes) > 1 and not (_opens_at_three(nodes[0]) and _leads(graph, nodes[0], between, nodes[1])):
        return None
    return name


def _opens_at_three(gate: gs.Node) -> bool:
    """Whether the gate, if it is that of a HardSwish, is closed below -3 and open above 3."""
    if gate.op == "HardSigmoid":
        slope, middle = gate.attrs.get("alpha", 0.2), gate.attrs.get("beta", 0.5)
        return bool(np.allclose([slope, middle], [1 / 6, 1 / 2], atol=1e-3))
    return gate.op != "Add" or any(is_constant(tensor) and np.all(tensor.values == 3) for tensor in gate.inputs)


def _leads(graph: gs.Graph, gate: gs.Node, between: Sequence[str], product: gs.Node) -> bool:
    """Whether the product multiplies by what operators ``between``, and perhaps a division, make of the gate."""
    following = sole_reader(graph, gate.outputs[0])
    if following is None or following is product:
        return following is product and not between
    if between and following.op == between[0]:
        return _leads(graph, following, between[1:], product)
    return following.op == "Div" and _leads(graph, following, between, product)
