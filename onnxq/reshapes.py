"""``Reshape(x, Concat(Gather(Shape(x), 0), 64, -1))`` becomes ``Reshape(x, [0, 64, -1])``: what a shape is computed of
is known but for free sizes, and a 0 stands for the one that ``x`` has on that axis, a -1 for one more."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, give, is_constant
from onnxq.shape_values import Entry, ShapeValues, Size


def settle_reshapes(graph: gs.Graph) -> int:
    """Give a constant shape to every Reshape that can have one, of a sorted graph; how many did."""
    computed = [node for node in graph.nodes if node.op == "Reshape" and not is_constant(node.inputs[1])]
    if not computed:
        return 0
    known, names, settled = ShapeValues.of(graph), Names(graph), 0
    for node in computed:
        wanted = known.entries(node.inputs[1])
        copies = not node.attrs.get("allowzero", 0)
        shape = None if wanted is None else written(wanted, known.sizes.get(node.inputs[0].name, []), copies)
        if shape is not None:
            give(node, 1, np.array(shape, np.int64), names.fresh(f"{node.name}/shape"))
            settled += 1
    return settled


def written(wanted: Sequence[Entry], sizes: Sequence[int | Size], copies: bool) -> list[int] | None:
    """The shape in numbers, if there are any that say the same of a tensor of ``sizes``; ``copies``: whether 0 does."""
    found = [_number(entry, sizes[axis] if copies and axis < len(sizes) else None) for axis, entry in enumerate(wanted)]
    numbers = [entry for entry in found if entry is not None]
    return numbers if len(numbers) == len(found) and numbers.count(-1) <= 1 else None


def _number(entry: Entry, copied: int | Size | None) -> int | None:
    if isinstance(entry, Size):
        return 0 if entry == copied else -1
    return entry
