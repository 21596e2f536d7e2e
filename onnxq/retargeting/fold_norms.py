"""``BatchNormalization(Conv(x, w))`` with integer ``w`` becomes a Conv with the same integers on another grid.

Folding multiplies the weight of every output channel by some ``k``: its scale times ``|k|``, its integers times the
sign of ``k``. Exporters cannot fold behind a quantizer, so quantization-aware training often leaves these nodes.
"""

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import HEAVY_OPS, Layout, layout
from onnxq.lifting.lift import LearnedWeight, Lifted
from onnxq.lifting.stored import Array
from onnxq.passes import FoldBatchNorm
from onnxq.scheme import QParams
from onnxq.workspace import Workspace


def fold_norms(space: Workspace, lifted: Lifted) -> Lifted:
    """Fold them in the graph; what was learned, for the folded weights. Nothing where a grid stands between."""
    between = {node.inputs[0].name for node in space.graph.nodes if node.op == "BatchNormalization"}
    if between & lifted.activations.keys():
        return lifted
    before = {node.name: node.inputs[where.index] for node, where in _layers(space.graph)}
    space.activations = {name: entries[0].params for name, entries in lifted.activations.items()}  # they keep theirs
    folded_any = FoldBatchNorm()(space)
    space.activations = {}
    if not folded_any:
        return lifted
    weights, lost = dict(lifted.weights), set(lifted.lost)
    for node, where in _layers(space.graph):
        new, old = node.inputs[where.index], before.get(node.name)
        if old is None or old is new or old.name not in lifted.weights:
            continue
        folded = _folded(lifted.weights[old.name], np.asarray(old.values), np.asarray(new.values), where)
        if folded is None:
            weights.pop(new.name, None)
            lost.add(new.name)
        else:
            weights[new.name] = folded
    return replace(lifted, weights=weights, lost=frozenset(lost))


def _layers(graph: gs.Graph) -> list[tuple[gs.Node, Layout]]:
    found = ((node, layout(node)) for node in graph.nodes if node.op in HEAVY_OPS)
    return [(node, where) for node, where in found if where is not None]


def _folded(learned: LearnedWeight, old: Array, new: Array, where: Layout) -> LearnedWeight | None:
    """The integers of ``new``, or None where no factor per output channel made it, or an integer has no negative."""
    scheme, axis = learned.params.scheme, where.out_axis
    factor = _factor(old, new, axis)
    shape = [-1 if a == axis else 1 for a in range(old.ndim)]
    if scheme.axis not in (None, axis) or not np.allclose(old * factor.reshape(shape), new, rtol=1e-4, atol=1e-12):
        return None
    integers = learned.integers.astype(np.int64) * np.where(factor < 0, -1, 1).reshape(shape)
    limits = np.iinfo(scheme.dtype)
    if np.any(factor < 0) and (not scheme.symmetric or integers.min() < limits.min or integers.max() > limits.max):
        return None
    scale = np.asarray(np.abs(factor) * learned.params.scale, np.float32)
    zero = np.broadcast_to(learned.params.zero_point, scale.shape).copy()
    return LearnedWeight(integers.astype(scheme.dtype), QParams(scheme.along(axis), scale, zero))


def _factor(old: Array, new: Array, axis: int) -> Array:
    """By how much each output channel was multiplied, told by its largest number."""
    lines = [np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64) for array in (old, new)]
    largest = np.abs(lines[0]).argmax(axis=1)[:, np.newaxis]
    was, became = (np.take_along_axis(line, largest, 1)[:, 0] for line in lines)
    return np.divide(became, was, out=np.ones_like(became), where=was != 0)
