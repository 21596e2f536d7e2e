"""``Mul(x, k)`` with ``k`` [1, channels, 1, 1] becomes ``Mul(x, k')`` with the same factors as [1, channels, 1, width].

onnxruntime moves convolutions and what lies between them to channels last. There a factor per channel is a vector of
a few numbers that multiplies pixel by pixel, five times slower than over a whole line of the image at a time. Elsewhere
channels stay first, and the one number of a channel is faster: up to twice on small images.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, give, is_constant, producer, readers
from onnxq.rewriting import concluded
from onnxq.workspace import Workspace

LARGEST = 2**16  # numbers: it has to stay in the cache
CONVERTS = ("QuantizeLinear", "DequantizeLinear")
ELEMENTWISE = (*CONVERTS, "Relu", "LeakyRelu", "Clip", "Sigmoid", "QuickGelu", "HardSwish", "HardSigmoid", "Mul", "Add")


@dataclass(frozen=True)
class WidenFactors:
    """Widen every factor per channel between convolutions, of an image whose width is known; a lowering pass of
    onnxruntime."""

    name: ClassVar[str] = "widen_factors"

    def __call__(self, workspace: Workspace) -> bool:
        names = Names(workspace.graph)
        widened = sum(widen(names, node) for node in workspace.graph.nodes if node.op == "Mul")
        told = f"{widened} factors per channel were repeated along a line of the image, which is faster"
        return concluded(workspace, self.name, widened, told)


def widen(names: Names, product: gs.Node) -> bool:
    """Whether the node multiplies an image by one factor a channel, between convolutions; it multiplies by one a
    column then."""
    image, factor = product.inputs
    shape = image.shape
    if not is_constant(factor) or shape is None or len(shape) != 4 or not isinstance(shape[3], int) or shape[3] < 2:
        return False
    held = tuple(factor.shape)
    if len(held) != 4 or held[0] != 1 or held[2:] != (1, 1) or math.prod(held) * shape[3] > LARGEST:
        return False
    if not (_from_conv(image) and _only_for_convs(product)):
        return False
    wide = np.repeat(factor.values, shape[3], axis=3)
    give(product, 1, wide, names.fresh(f"{factor.name}/wide"))
    return True


def _from_conv(tensor: gs.Tensor) -> bool:
    """Whether a convolution makes the tensor, elementwise operators between them."""
    maker = producer(tensor)
    while maker is not None and maker.op in ELEMENTWISE:
        maker = producer(maker.inputs[0])
    return maker is not None and maker.op == "Conv"


def _only_for_convs(node: gs.Node) -> bool:
    """Whether nothing but convolutions read what the node makes, quantized or not."""
    found = [reader for reader, _ in readers(node.outputs[0])]
    return bool(found) and all(
        reader.op == "Conv" or (reader.op in CONVERTS and _only_for_convs(reader)) for reader in found
    )
