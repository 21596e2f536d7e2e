"""Which linear layers a backend can run in integers, and why not the others."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import Declined
from onnxq.graph import is_constant, layout


def integer_operands(node: gs.Node, backend: Backend) -> list[int]:
    """Indices of the activations of a linear layer that can be integer. Raises Declined."""
    where = layout(node)
    if where is None:
        return _two_activations(node, backend)
    weight, index = node.inputs[where.index], 1 - where.index
    if where.groups > 1 and weight.shape[1] == 1 and not backend.depthwise:
        raise Declined(
            f"depthwise {node.op}: gains little from integers on {backend.title}, "
            "and loses most by one grid for all channels"
        )
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


def is_float32(tensor: gs.Tensor) -> bool:
    """Also where the dtype is not known: then nothing says that it is anything else."""
    return tensor.dtype is None or dtype_name(tensor) == "float32"


def dtype_name(tensor: gs.Tensor) -> str:
    """``float32``, ``bfloat16``, ...: graphsurgeon keeps a type that numpy does not have as ONNX's number."""
    if isinstance(tensor.dtype, int):
        return str(onnx.TensorProto.DataType.Name(tensor.dtype)).lower()
    return str(np.dtype(tensor.dtype))
