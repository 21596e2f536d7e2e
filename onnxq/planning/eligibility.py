"""Which linear layers a backend can run in integers, and why not the others."""

import math

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_constant, layout
from onnxq.planning.tails import after_a_layer, before_a_layer


def integer_operands(node: gs.Node, backend: Backend) -> list[int]:
    """Indices of the activations of a linear layer that can be integer. Raises Declined."""
    where = layout(node)
    if where is None:
        return _two_activations(node, backend)
    weight, index = node.inputs[where.index], 1 - where.index
    if node.op == "MatMul" and where.index == 0 and not backend.left_constants:
        raise Declined(f"its weight is the first operand, for which {backend.title} has no integer kernel")
    if not is_float32(weight):
        raise Declined(f"its weight is {dtype_name(weight)}, not float32")
    if not np.isfinite(weight.values).all():
        raise Declined("its weight holds NaN or infinity")
    if is_constant(node.inputs[index]):
        raise Declined("both of its operands are constants")
    if not is_float32(node.inputs[index]):
        raise Declined(f"its input is {dtype_name(node.inputs[index])}, not float32")
    return [index]


def _two_activations(node: gs.Node, backend: Backend) -> list[int]:
    """The operands of a product of two activations, as in attention."""
    if node.op != "MatMul":
        raise Declined("its weight is computed at run time")
    if any(is_constant(tensor) for tensor in node.inputs):
        raise Declined("its weight is a vector")
    for tensor in node.inputs:
        if not is_float32(tensor):
            raise Declined(f"its input is {dtype_name(tensor)}, not float32")
    if not backend.products:
        raise Declined(f"a product of two activations (attention) is faster in float on {backend.title}")
    return [0, 1]


def undersized(graph: gs.Graph, backend: Backend) -> dict[str, str]:
    """The layers in which integers gain nothing, and why. A model's first and last layers are not among them."""
    inner = after_a_layer(graph) & before_a_layer(graph)
    layers = (node for node in graph.nodes if node.op in HEAVY_OPS and node.name in inner)
    return {node.name: reason for node in layers if (reason := _too_small(node, backend))}


def _too_small(node: gs.Node, backend: Backend) -> str | None:
    where, least = layout(node), backend.least
    if where is None:
        return None
    weight = node.inputs[where.index].shape
    sides = [weight[where.in_axis], weight[where.out_axis]]
    convolves = node.op in ("Conv", "ConvTranspose")
    if convolves:
        sides[0 if node.op == "Conv" else 1] *= where.groups
    wanted = least.channels if convolves else least.width
    if min(sides) < wanted:
        what = "channels" if convolves else "columns or rows of weights"
        return f"{node.op} of {min(sides)} {what}: integers gain nothing on {backend.title} below {wanted}"
    if _rows(node) == 1 and math.prod(weight) < least.vector:
        return (
            f"{node.op} of one row and {math.prod(weight):,} weights: reading the weights is all its work, and "
            f"integers gain nothing on {backend.title} below {least.vector:,}"
        )
    return None


def _rows(node: gs.Node) -> int | None:
    """How many vectors the weight is multiplied with, where the shape says so."""
    made = node.outputs[0].shape
    if made is None or not all(isinstance(size, int) for size in made):
        return None
    return int(math.prod(made) // (made[1] if node.op in ("Conv", "ConvTranspose") else made[-1]))


def is_float32(tensor: gs.Tensor) -> bool:
    """Also where the dtype is not known: then nothing says that it is anything else."""
    return tensor.dtype is None or dtype_name(tensor) == "float32"


def dtype_name(tensor: gs.Tensor) -> str:
    """``float32``, ``bfloat16``, ...: graphsurgeon keeps a type that numpy does not have as ONNX's number."""
    if isinstance(tensor.dtype, int):
        return str(onnx.TensorProto.DataType.Name(tensor.dtype)).lower()
    return str(np.dtype(tensor.dtype))
