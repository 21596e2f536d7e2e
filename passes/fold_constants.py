"""What depends on no input is computed once: constants, and the shape arithmetic exporters leave behind.

Where some sizes are free, such as the batch, what depends on the others is; and a Reshape takes the free ones as they
come (``onnxq/reshapes.py``).
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from onnxq.branches import take_branches
from onnxq.errors import RecipeError
from onnxq.folding import lower_constants, settle_results, settle_shapes
from onnxq.graph import tidy
from onnxq.reshapes import settle_reshapes
from onnxq.shapes import infer_shapes
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class FoldConstants:
    """Replace constant subgraphs by their values, and drop nodes that nothing reads; a value of more than ``largest``
    bytes is left to be computed, since a model may ask to expand a constant without bound."""

    name: ClassVar[str] = "fold_constants"
    tolerance: ClassVar[float] = TOLERANCE
    largest: int = 64 * 2**20

    def __post_init__(self) -> None:
        if self.largest < 0:
            raise RecipeError(f"largest: {self.largest} is no number of bytes")

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        before, changed = len(graph.nodes), False
        while folded(graph, workspace.source, self.largest) or settle_reshapes(graph):
            infer_shapes(graph)  # what is a constant now tells more of them
            changed = True
        if changed:
            reason = f"{before - len(graph.nodes)} constant or unread nodes removed"
            workspace.ledger.add("changed", self.name, "graph", reason)
        return changed


def folded(graph: gs.Graph, like: onnx.ModelProto, largest: int) -> bool:
    """Whether there was something to fold."""
    before = len(graph.nodes)
    lower_constants(graph)
    settle_shapes(graph)
    settle_results(graph, like, largest)
    taken = take_branches(graph)
    tidy(graph)
    return taken > 0 or len(graph.nodes) < before
