"""Where the bias of a linear layer stands: in the layer itself, or in the Add of a constant behind a MatMul."""

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.biases.passing import Passing, behind
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, Names, give, has_bias, is_constant, layout, sole_reader


@dataclass(frozen=True)
class Finding:
    """The ``shift`` of a layer's bias, [channels], or None, and why it is or is not; ``detail`` in numbers."""

    shift: Vector | None
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Biased:
    """A layer of constant weight and the node that ``ends`` it, which has the bias: the layer itself, or an Add.

    What that node makes has its ``channels`` on ``axis``; ``function`` is the activation function, if there is one,
    that is all that reads it.
    """

    layer: gs.Node
    ends: gs.Node
    axis: int
    channels: int
    function: Passing | None


def biased(graph: gs.Graph, node: gs.Node) -> Biased | None:
    """None for a node that is no linear layer, and for a product of two activations. Raises Declined."""
    where = layout(node) if node.op in HEAVY_OPS else None
    if where is None:
        return None
    weight = node.inputs[where.index]
    if weight.dtype != np.float32:
        raise Declined(f"its weight is {np.dtype(weight.dtype)}, not float32")
    channels = int(weight.shape[where.out_axis]) * (where.groups if node.op == "ConvTranspose" else 1)
    if node.op != "MatMul":
        if has_bias(node) and not is_constant(node.inputs[2]):
            raise Declined("its bias is computed at run time")
        return Biased(node, node, 1, channels, behind(graph, node.outputs[0]))
    add = sole_reader(graph, node.outputs[0])
    if where.index != 1 or add is None or add.op != "Add" or not any(map(is_constant, add.inputs)):
        raise Declined("a MatMul without the Add of a constant behind it has no bias")
    bias = add.inputs[_constant_of(add)]
    if bias.shape and bias.shape[-1] not in (1, channels):
        raise Declined(f"its Add repeats it: a constant of shape {list(bias.shape)} for {channels} channels")
    return Biased(node, add, -1, channels, behind(graph, add.outputs[0]))


def bias_of(found: Biased) -> Vector:
    """The layer's bias, a Gemm's times its beta, in the shape it is stored in; zeros where it has none."""
    node, index = found.ends, _index(found.ends)
    if index is None:
        return np.zeros(found.channels)
    beta = float(node.attrs.get("beta", 1.0)) if node.op == "Gemm" else 1.0
    return np.asarray(node.inputs[index].values, np.float64) * beta


def set_bias(names: Names, found: Biased, bias: Vector) -> bool:
    """Let the layer have this bias, a new constant; whether it had another one."""
    node, index = found.ends, _index(found.ends)
    values = bias.astype(np.float32)
    if np.array_equal(values, bias_of(found).astype(np.float32)):
        return False
    if node.op == "Gemm":
        node.attrs.pop("beta", None)
    name = f"{node.name}/bias" if index is None else node.inputs[index].name
    give(node, 2 if index is None else index, values, names.fresh(name))
    return True


def _index(node: gs.Node) -> int | None:
    """Which input of the node is the bias."""
    return _constant_of(node) if node.op == "Add" else 2 if has_bias(node) else None


def _constant_of(add: gs.Node) -> int:
    return next(index for index, tensor in enumerate(add.inputs) if is_constant(tensor))
