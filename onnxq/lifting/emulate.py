"""What a QuantizeLinear or DequantizeLinear computes, in float operators.

For the few that cannot be taken out of a graph: a model's integer input or output, a scale computed at run time.
"""

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import Names
from onnxq.lifting.stored import BOUNDS, Grid


def dequantize_in_float(
    names: Names, base: str, integers: gs.Tensor, grid: list[gs.Tensor], result: gs.Tensor
) -> list[gs.Node]:
    """``(q - zero_point) * scale``, with ``grid`` the tensors of scale and, perhaps, zero point."""
    nodes: list[gs.Node] = []
    real = _step(names, nodes, "Cast", base, [integers], to=onnx.TensorProto.FLOAT)
    if len(grid) > 1:
        zero = _step(names, nodes, "Cast", base, [grid[1]], to=onnx.TensorProto.FLOAT)
        real = _step(names, nodes, "Sub", base, [real, zero])
    _step(names, nodes, "Mul", base, [real, grid[0]])
    nodes[-1].outputs = [result]
    return nodes


def aligned(names: Names, grid: Grid, tensor: gs.Tensor) -> list[gs.Tensor]:
    """Scale and zero point as floats, in a shape that broadcasts to the tensor. Raises Declined."""
    rank = None if tensor.shape is None else len(tensor.shape)
    if grid.axis is not None and (rank is None or grid.block):
        raise Declined(f"its grid ({grid.describe()}) cannot be lined up with integers computed at run time")
    shape = [-1 if axis == grid.axis else 1 for axis in range(rank or 0)] if grid.axis is not None else []
    return [
        gs.Constant(names.fresh(f"{tensor.name}/grid"), array.astype(np.float32).reshape(shape))
        for array in (grid.scale, grid.zero_point)
    ]


def quantize_in_float(names: Names, base: str, real: gs.Tensor, grid: Grid, result: gs.Tensor) -> list[gs.Node]:
    """``cast(clip(round(x / scale) + zero_point))``. Raises Declined for a grid that is not one per tensor."""
    if grid.axis is not None or not grid.integer:
        raise Declined(f"its integers ({grid.describe()}) are read by what is no DequantizeLinear")
    low, high = BOUNDS[grid.dtype]
    nodes: list[gs.Node] = []

    def constant(value: float) -> gs.Constant:
        return gs.Constant(names.fresh(f"{base}/constant"), np.asarray(value, np.float32))

    made = _step(names, nodes, "Div", base, [real, constant(float(grid.scale))])
    made = _step(names, nodes, "Round", base, [made])
    made = _step(names, nodes, "Add", base, [made, constant(float(grid.zero_point))])
    made = _step(names, nodes, "Clip", base, [made, constant(low), constant(high)])
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(grid.dtype))
    _step(names, nodes, "Cast", base, [made], to=kind)
    nodes[-1].outputs = [result]
    return nodes


def shift_in_float(
    names: Names, base: str, real: gs.Tensor, factor: float, shift: float, result: gs.Tensor
) -> list[gs.Node]:
    """``x * factor + shift``: what integers mean that are read on another grid than they were written on."""
    nodes: list[gs.Node] = []
    constants = [gs.Constant(names.fresh(f"{base}/constant"), np.asarray(v, np.float32)) for v in (factor, shift)]
    made = _step(names, nodes, "Mul", base, [real, constants[0]])
    _step(names, nodes, "Add", base, [made, constants[1]])
    nodes[-1].outputs = [result]
    return nodes


def _step(
    names: Names, nodes: list[gs.Node], op: str, base: str, inputs: list[gs.Tensor], **attrs: object
) -> gs.Tensor:
    made = gs.Variable(names.fresh(f"{base}/{op}_output"), np.float32)
    nodes.append(gs.Node(op, names.fresh(f"{base}/{op}"), dict(attrs), inputs, [made]))
    return made
