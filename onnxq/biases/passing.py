"""What an activation function behind a layer lets through: of what is squashed, an error goes nowhere."""

from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.clip_bounds import bounds
from onnxq.graph import sole_reader
from onnxq.nonlinear import FUNCTIONS, Floats, Function, function_behind

Passing: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def behind(graph: gs.Graph, tensor: gs.Tensor) -> Passing | None:
    """The activation function that is all that reads the tensor, if there is one."""
    name, node = function_behind(graph, tensor), sole_reader(graph, tensor)
    if name is not None:
        return _single(FUNCTIONS[name])
    if node is None:
        return None
    if node.op in ("Relu", "LeakyRelu"):
        slope = float(node.attrs.get("alpha", 0.01)) if node.op == "LeakyRelu" else 0.0
        return lambda x: np.where(x > 0, x, x * np.float32(slope))
    if node.op == "Clip" and (limits := bounds(node)) is not None:
        return lambda x: np.clip(x, *limits)
    return _single(np.tanh) if node.op == "Tanh" else _sigmoid if node.op == "Sigmoid" else None


def _single(function: Function) -> Passing:
    """In float32, which is precise enough for an error, and several times as fast."""
    return lambda x: function(cast(Floats, x)).astype(np.float32, copy=False)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
