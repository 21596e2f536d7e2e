"""The Relu that a grid stands for: onnxruntime's quantizer drops one before a grid that starts at zero, which clips
what is negative, and a Clip(0, 6) before one that ends at six as well."""

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import MOVERS, Names, data_inputs, optional
from onnxq.lifting.stored import BOUNDS, Grid, resolve

NON_NEGATIVE = frozenset(
    ["Abs", "Exp", "HardSigmoid", "ReduceL1", "ReduceL2", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"]
)
KEEPS_SIGN = MOVERS - {"Pad"} | {
    *("Add", "AveragePool", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Max", "Mul", "ReduceMean", "ReduceSum"),
    "Sum",
}
"""Operators that make nothing negative of what is not."""
RELU6 = 6.0


def implied_activation(names: Names, tensor: gs.Tensor, grid: Grid, opset: int) -> gs.Node | None:
    """The Relu or Clip between ``tensor`` and its grid, or None where the grid cuts nothing that could be there."""
    if grid.axis is not None or grid.dtype not in BOUNDS:
        return None
    lowest, highest = BOUNDS[grid.dtype]
    if int(grid.zero_point) != lowest or not tensor.inputs or not_negative(tensor, opset, {}):
        return None
    reach = (highest - lowest) * float(grid.scale)
    six = abs(reach - RELU6) < 1e-3 * RELU6
    limits = [gs.Constant(names.fresh(f"{tensor.name}/limit"), np.asarray(v, np.float32)) for v in (0, RELU6) if six]
    op = "Clip" if six else "Relu"
    made = gs.Variable(names.fresh(f"{tensor.name}/{op.lower()}"), np.float32, tensor.shape)
    return gs.Node(op, names.fresh(f"{tensor.name}/{op}"), {}, [tensor, *limits], [made])


def not_negative(tensor: gs.Tensor, opset: int, known: dict[int, bool]) -> bool:
    """Whether nothing in the tensor can be negative; of an input of the model its grid says so."""
    if id(tensor) not in known:
        known[id(tensor)] = False  # while a loop of the graph is followed
        known[id(tensor)] = _not_negative(tensor, opset, known)
    return known[id(tensor)]


def _not_negative(tensor: gs.Tensor, opset: int, known: dict[int, bool]) -> bool:
    if isinstance(tensor, gs.Constant):
        return bool(np.all(np.asarray(tensor.values) >= 0))
    if not tensor.inputs:
        return True
    node = tensor.inputs[0]
    if node.op == "Clip":
        low = node.attrs.get("min", -1.0)  # an attribute before opset 11
        if (bound := optional(node, 1)) is not None:
            given = resolve(bound, opset)
            low = -1.0 if given is None else float(given.reshape(()))
        return float(low) >= 0
    if node.op in KEEPS_SIGN:
        return all(not_negative(node.inputs[i], opset, known) for i in data_inputs(node))
    return node.op in NON_NEGATIVE
