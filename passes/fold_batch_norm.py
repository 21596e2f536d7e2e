"""``BatchNormalization(Conv(x, w, b))`` becomes ``Conv(x, w * k, b * k + s)`` and
``Conv(BatchNormalization(x), w, b)`` becomes ``Conv(x, w * k, b + sum(w * s))``
with ``k = gamma / sqrt(var + epsilon)`` and ``s = beta - mean * k`` (white paper, sect. 3.1).

The same for ConvTranspose, Gemm and MatMul, with views and sums with constants between (``onnxq/absorbing.py``). Zero
padding is not shifted: before a layer that pads, ``x * k + s`` becomes ``x + s / k``, and the layer takes ``k``. A norm
that no layer takes is written out, ``x * k + s``, which engines fuse into what stands beside it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.absorbing import fold_before, fold_behind, taken_behind
from onnxq.affine import Affine, affine, along
from onnxq.arrays import Vector
from onnxq.errors import Declined
from onnxq.graph import Names
from onnxq.new_constants import stored
from onnxq.normal import Normal
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace

NO_LAYER = "no layer to fold into: neither its only input nor all of its readers are linear layers"


@dataclass(frozen=True)
class FoldBatchNorm:
    """Fold every BatchNormalization that has a linear layer beside it into that layer; write out the others."""

    name: ClassVar[str] = "fold_batch_norm"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        norms = [node for node in graph.nodes if node.op == "BatchNormalization"]
        done = sum(attempt(workspace, self.name, norm, fold, workspace, norm) for norm in norms)
        return concluded(workspace, self.name, done, f"{done} batch norms folded into their layer, or written out")


def fold(workspace: Workspace, norm: gs.Node) -> bool:
    """Fold into the layer before, else into those behind, else write it out. Raises Declined."""
    given = affine(norm)
    assert given is not None
    reason = NO_LAYER
    for step in (_fold_before, _fold_behind, _fold_factor_behind):
        try:
            if step(workspace, norm, given):
                return True
        except Declined as declined:
            reason = str(declined)
    _write_out(workspace.graph, norm, given)
    workspace.ledger.add("changed", FoldBatchNorm.name, norm.name, f"written out as a product and a sum: {reason}")
    return True


def _fold_before(workspace: Workspace, norm: gs.Node, given: Affine) -> bool:
    gamma, beta = (np.asarray(norm.inputs[i].values, np.float64) for i in (1, 2))
    result = norm.outputs[0]
    if not fold_before(workspace, norm, 0, given):
        return False
    workspace.normals[result.name] = Normal(beta, np.abs(gamma))
    return True


def _fold_behind(workspace: Workspace, norm: gs.Node, given: Affine) -> bool:
    return fold_behind(workspace, norm, 0, given)


def _fold_factor_behind(workspace: Workspace, norm: gs.Node, given: Affine) -> bool:
    """``x + s / k`` stays."""
    first, rest = given.split()
    sums = [_node(workspace.graph, norm, "Add", first, given.axis)]
    edits = taken_behind(workspace, norm.outputs[0], rest)
    if edits is None:
        return False
    for edit in edits:
        edit()
    _replace(workspace.graph, norm, sums)
    return True


def _write_out(graph: gs.Graph, norm: gs.Node, given: Affine) -> None:
    steps = (("Mul", given.factor, 1), ("Add", given.shift, 0))
    nodes = [_node(graph, norm, op, vector, given.axis) for op, vector, idle in steps if np.any(vector != idle)]
    _replace(graph, norm, nodes)


def _node(graph: gs.Graph, norm: gs.Node, op: str, vector: Vector, axis: int) -> gs.Node:
    """A product or a sum with a constant, not wired yet. Raises Declined."""
    shape = norm.inputs[0].shape
    if shape is None:
        raise Declined(f"the rank of its input {norm.inputs[0].name!r} is not known")
    names = Names(graph)
    constant = stored(along(vector, axis, len(shape)), norm.inputs[1].values.dtype, "shift or factor")
    held = gs.Constant(names.fresh(f"{norm.name}/{op}/constant"), constant)
    return gs.Node(op, names.fresh(f"{norm.name}/{op}"), {}, [held], [])


def _replace(graph: gs.Graph, norm: gs.Node, nodes: list[gs.Node]) -> None:
    """Let the nodes, one after the other, make what the norm made."""
    source, result, names = norm.inputs[0], norm.outputs[0], Names(graph)
    at = next(i for i, entry in enumerate(graph.nodes) if entry is norm)
    norm.inputs.clear()
    norm.outputs.clear()
    if not nodes:  # it does nothing at all
        nodes = [gs.Node("Identity", names.fresh(f"{norm.name}/Identity"), {}, [], [])]
    for node in nodes:
        last = node is nodes[-1]
        made = result if last else gs.Variable(names.fresh(f"{node.name}/result"), result.dtype, result.shape)
        node.inputs.insert(0, source)
        node.outputs.append(made)
        source = made
    graph.nodes[at : at + 1] = nodes
