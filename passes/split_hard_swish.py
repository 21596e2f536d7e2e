"""``HardSwish(x)`` becomes ``x * HardSigmoid(x)`` with ``alpha = 1/6`` and ``beta = 1/2``, as ONNX defines it.

For engines that have an integer product and no integer HardSwish.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import Names
from onnxq.rewriting import concluded
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class SplitHardSwish:
    """Split every HardSwish."""

    name: ClassVar[str] = "split_hard_swish"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph, names = workspace.graph, Names(workspace.graph)
        found = [node for node in graph.nodes if node.op == "HardSwish"]
        for node in found:
            split(graph, names, node)
        told = f"{len(found)} HardSwish split into HardSigmoid and Mul, which can be integer"
        return concluded(workspace, self.name, len(found), told)


def split(graph: gs.Graph, names: Names, node: gs.Node) -> None:
    """The node becomes the product; its gate is a new node."""
    (source,) = node.inputs
    gate = gs.Variable(names.fresh(f"{node.name}/gate"), source.dtype, source.shape)
    attrs = {"alpha": 1 / 6, "beta": 0.5}
    graph.nodes.append(gs.Node("HardSigmoid", names.fresh(f"{node.name}/HardSigmoid"), attrs, [source], [gate]))
    node.op, node.attrs = "Mul", {}
    node.inputs.append(gate)
