"""What depends on no input is computed once: constants, and the shape arithmetic exporters leave behind.

Where some sizes are free, such as the batch, what depends on the others is; and a Reshape takes the free ones as they
come (``onnxq/reshapes.py``).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import is_constant, tidy
from onnxq.model import graphsurgeon_hushed
from onnxq.reshapes import settle_reshapes
from onnxq.shapes import infer_shapes
from onnxq.workspace import TOLERANCE, Workspace

NODE = "node: "
LARGEST = 64 * 2**20  # bytes; a model may ask to expand a constant without bound


@dataclass(frozen=True)
class FoldConstants:
    """Replace constant subgraphs by their values, and drop nodes that nothing reads."""

    name: ClassVar[str] = "fold_constants"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        before, changed = len(graph.nodes), False
        while folded(graph) or settle_reshapes(graph):
            infer_shapes(graph)  # what is a constant now tells more of them
            changed = True
        if changed:
            reason = f"{before - len(graph.nodes)} constant or unread nodes removed"
            workspace.ledger.add("changed", self.name, "graph", reason)
        return changed


def folded(graph: gs.Graph) -> bool:
    """Whether there was something to fold."""
    before = len(graph.nodes)
    _look_at_what_is_folded(graph)
    # Bodies of If and Loop are left alone: graphsurgeon runs them under an IR version of its own choice.
    fold = partial(graph.fold_constants, size_threshold=LARGEST, recurse_subgraphs=False)
    with hushed(), renamed(graph):
        try:
            fold(partitioning=None, error_ok=False)  # all in one session
        except Exception:  # onnxruntime's errors have no common base; one by one, the others are folded all the same
            fold(partitioning="basic")
    tidy(graph)
    return len(graph.nodes) < before


def _look_at_what_is_folded(graph: gs.Graph) -> None:
    """Constants that lie outside the model are looked at by us: graphsurgeon's own sessions do not find them."""
    known: set[int] = set()
    for node in graph.nodes:
        if all(is_constant(tensor) or id(tensor) in known for tensor in node.inputs):
            known |= {id(tensor) for tensor in node.outputs}
            for tensor in filter(is_constant, node.inputs):
                tensor.values  # noqa: B018 - loads them


@contextmanager
def renamed(graph: gs.Graph) -> Iterator[None]:
    """No node has the name of a tensor: graphsurgeon takes a reader of that name for a constant, and folds nothing."""
    for node in graph.nodes:
        node.name = f"{NODE}{node.name}"
    try:
        yield
    finally:
        for node in graph.nodes:
            node.name = node.name.removeprefix(NODE)


@contextmanager
def hushed() -> Iterator[None]:
    """Folding runs pieces of the model in sessions of graphsurgeon's own, whose warnings tell the user nothing."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        with graphsurgeon_hushed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # overflow while a mask is folded is what the model wants
            yield
    finally:
        onnxruntime.set_default_logger_severity(2)
