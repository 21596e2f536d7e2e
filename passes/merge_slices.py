"""``Slice(Slice(x))`` on other axes becomes one Slice: exporters write one for every axis of ``x[:, :, ::2, ::2]``."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Names, give, is_constant, sole_producer
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace

Cuts = dict[int, tuple[int, int, int]]
"""By axis: start, end and step."""


@dataclass(frozen=True)
class MergeSlices:
    """Merge every Slice into the one before it, if that has no other reader."""

    name: ClassVar[str] = "merge_slices"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph, names = workspace.graph, Names(workspace.graph)
        slices = [node for node in graph.nodes if node.op == "Slice"]
        merged = sum(attempt(workspace, self.name, node, merge, graph, names, node) for node in slices)
        return concluded(workspace, self.name, merged, f"{merged} Slice merged into the one before")


def merge(graph: gs.Graph, names: Names, node: gs.Node) -> bool:
    """Whether the node cuts what the Slice before it cut too."""
    before = sole_producer(graph, node.inputs[0], "Slice")
    first, second = cuts(before) if before is not None else None, cuts(node)
    if before is None or first is None or second is None or first.keys() & second.keys():
        return False
    both = first | second
    rows: list[NDArray[np.int64]] = [np.array(row, np.int64) for row in zip(*both.values(), strict=True)]
    starts, ends, steps = rows
    node.inputs[0] = before.inputs[0]
    for index, (what, array) in enumerate(
        (("starts", starts), ("ends", ends), ("axes", np.array(list(both), np.int64)), ("steps", steps)), start=1
    ):
        give(node, index, array, names.fresh(f"{node.name}/{what}"))
    before.outputs.clear()
    return True


def cuts(node: gs.Node) -> Cuts | None:
    """What the node cuts, where it is known: axes from the left, each once."""
    shape, given = node.inputs[0].shape, node.inputs[1:]
    if shape is None or len(given) < 2 or not all(is_constant(tensor) for tensor in given):
        return None
    starts, ends, *rest = [[int(value) for value in np.ravel(tensor.values)] for tensor in given]
    axes = [axis % len(shape) for axis in rest[0]] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    return dict(zip(axes, zip(starts, ends, steps, strict=True), strict=True)) if len(set(axes)) == len(axes) else None
