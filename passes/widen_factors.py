"""``Mul(x, k)`` with ``k`` [1, channels, 1, 1] becomes ``Mul(x, k')`` with the same factors as [1, channels, 1, width].

onnxruntime moves convolutions and what lies between them to channels last. There a factor per channel is a vector of
a few numbers that multiplies pixel by pixel, five times slower than over a whole line of the image at a time.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, give, is_constant
from onnxq.workspace import Workspace

LARGEST = 2**16  # numbers: it has to stay in the cache


@dataclass(frozen=True)
class WidenFactors:
    """Widen every factor per channel of an image whose width is known; a lowering pass of onnxruntime."""

    name: ClassVar[str] = "widen_factors"

    def __call__(self, workspace: Workspace) -> bool:
        names = Names(workspace.graph)
        widened = [widen(names, node) for node in workspace.graph.nodes if node.op == "Mul"]
        return any(widened)


def widen(names: Names, product: gs.Node) -> bool:
    """Whether the node multiplies an image by one factor a channel; it multiplies by one a column then."""
    image, factor = product.inputs
    shape = image.shape
    if not is_constant(factor) or shape is None or len(shape) != 4 or not isinstance(shape[3], int) or shape[3] < 2:
        return False
    held = factor.values.shape
    if len(held) != 4 or held[0] != 1 or held[2:] != (1, 1) or factor.values.size * shape[3] > LARGEST:
        return False
    wide = np.repeat(factor.values, shape[3], axis=3)
    give(product, 1, wide, names.fresh(f"{factor.name}/wide"))
    return True
