"""``ReduceMean<keepdims=0>(x)`` becomes ``Squeeze(ReduceMean<keepdims=1>(x))``, and ``Gather(x, i)`` of one index
``Squeeze(Gather(x, [i]))``.

OpenVINO moves the scales of integer weights, one per channel, over both operators and does not drop their axis:
a mean is then scaled by those of other channels, and what is gathered has a rank too many (measured with 2026.4).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, give, is_constant
from onnxq.workspace import Workspace

REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")


@dataclass(frozen=True)
class KeepAxes:
    """For every such node on floats whose axes are known; runs after ``insert_qdq``."""

    name: ClassVar[str] = "keep_axes"

    def __call__(self, workspace: Workspace) -> bool:
        names, done = Names(workspace.graph), 0
        for node in [node for node in workspace.graph.nodes if node.outputs[0].dtype == np.float32]:
            axes = _dropped(node)
            if axes:
                _keep(names, node)
                _squeeze(workspace.graph, names, node, axes)
                done += 1
        workspace.graph.toposort()
        return done > 0


def _dropped(node: gs.Node) -> list[int]:
    """The axes a node drops in passing; none where they are not known."""
    if node.op in REDUCTIONS and node.attrs.get("keepdims", 1) == 0:
        return _axes(node)
    if node.op == "Gather" and is_constant(node.inputs[1]) and node.inputs[1].values.ndim == 0:
        return [int(node.attrs.get("axis", 0))]
    return []


def _axes(node: gs.Node) -> list[int]:
    if len(node.inputs) > 1 and is_constant(node.inputs[1]):
        return [int(axis) for axis in node.inputs[1].values]
    return [int(axis) for axis in node.attrs.get("axes", [])]


def _keep(names: Names, node: gs.Node) -> None:
    if node.op == "Gather":
        give(node, 1, np.reshape(node.inputs[1].values, [1]), names.fresh(f"{node.name}/index"))
    else:
        node.attrs["keepdims"] = 1


def _squeeze(graph: gs.Graph, names: Names, node: gs.Node, axes: list[int]) -> None:
    """Drop the axes behind the node; what it made keeps its name."""
    result = node.outputs[0]
    kept = gs.Variable(names.fresh(f"{result.name}/kept"), result.dtype)
    node.outputs[0] = kept
    where = gs.Constant(names.fresh(f"{node.name}/axes"), np.asarray(axes, np.int64))
    graph.nodes.append(gs.Node("Squeeze", names.fresh(f"{node.name}/Squeeze"), {}, [kept, where], [result]))
