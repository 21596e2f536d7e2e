"""New constants for a node, computed and checked before the first is given."""

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import Declined
from onnxq.graph import Names, give, is_output

Edit = Callable[[], None]
"""A change that was found possible, and is made by calling it."""


class NewConstants:
    """Those of one node. ``graph`` is asked for free names; without one they are called after the node."""

    def __init__(self, node: gs.Node, graph: gs.Graph | None) -> None:
        self.node, self.graph = node, graph
        self._given: list[tuple[int, NDArray[np.generic], str]] = []

    def setting(self, index: int, array: NDArray[np.float64], dtype: np.dtype[np.generic], what: str) -> "NewConstants":
        """Input ``index`` becomes ``array``; it keeps the name of the constant before, unless that one stays.

        Raises Declined where numbers do not fit the dtype."""
        old = self.node.inputs[index] if index < len(self.node.inputs) else None
        stays = old is not None and (len(old.outputs) > 1 or (self.graph is not None and is_output(self.graph, old)))
        name = old.name if old is not None and old.name and not stays else self.fresh(what)
        self._given.append((index, stored(array, dtype, what), name))
        return self

    def fresh(self, what: str) -> str:
        base = f"{self.node.name}/{what}"
        return base if self.graph is None else Names(self.graph).fresh(base)

    def made(self) -> None:
        """Give them."""
        for index, array, name in self._given:
            give(self.node, index, array, name)


def stored(array: NDArray[np.float64], dtype: np.dtype[np.generic], what: str) -> NDArray[np.generic]:
    """``array`` as ``dtype``. Raises Declined where numbers do not fit it."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        found = array.astype(dtype)
    if not np.isfinite(found).all():
        raise Declined(f"its {what} would not be finite in {np.dtype(dtype).name}")
    return found


def both(*edits: Edit) -> Edit:
    """One after the other."""

    def edit() -> None:
        for entry in edits:
            entry()

    return edit
