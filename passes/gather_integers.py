"""``Gather(DequantizeLinear(W, s), i)`` becomes ``DequantizeLinear(Gather(W, i), s)``, with the same numbers: a scale
per tensor, or per column of a table whose rows are gathered, is that of the gathered rows too.

Else onnxruntime dequantizes the whole table at every run, and OpenVINO 2026.4 crashes where scales are per column.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, is_constant, producer, tidy
from onnxq.packing import packed_behind
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class GatherIntegers:
    """For every Gather of rows of a table; runs after ``insert_qdq``."""

    name: ClassVar[str] = "gather_integers"

    def __call__(self, workspace: Workspace) -> bool:
        names, moved = Names(workspace.graph), 0
        for gather in [node for node in workspace.graph.nodes if node.op == "Gather"]:
            dequantize = producer(gather.inputs[0])
            if dequantize is not None and _scales_columns(gather, dequantize):
                _move(workspace.graph, names, gather, dequantize)
                moved += 1
        tidy(workspace.graph)
        return moved > 0


def _scales_columns(gather: gs.Node, dequantize: gs.Node) -> bool:
    if dequantize.op != "DequantizeLinear" or not is_constant(packed_behind(dequantize.inputs[0])):
        return False
    rank, axis = len(dequantize.inputs[0].shape), int(dequantize.attrs.get("axis", 1))
    per_tensor = dequantize.inputs[1].values.ndim == 0
    return gather.attrs.get("axis", 0) == 0 and (per_tensor or (rank > 1 and axis in (rank - 1, -1)))


def _move(graph: gs.Graph, names: Names, gather: gs.Node, dequantize: gs.Node) -> None:
    """The Gather reads integers, and a DequantizeLinear of its own makes what it made, with columns on axis -1."""
    table, *grid = dequantize.inputs
    result = gather.outputs[0]
    picked = gs.Variable(names.fresh(f"{result.name}/quantized"), np.dtype(table.dtype), result.shape)
    gather.inputs[0], gather.outputs[0] = table, picked
    attrs = {"axis": -1} if grid[0].values.ndim else {}
    name = names.fresh(f"{gather.name}/DequantizeLinear")
    graph.nodes.append(gs.Node("DequantizeLinear", name, attrs, [picked, *grid], [result]))
