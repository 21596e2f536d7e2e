"""What the error of a channel costs the layers that read it.

An error ``e`` of what a layer reads costs ``E ||W e||^2`` of what it makes. Where errors of channels are independent,
that is ``sum_c ||w_c||^2 E e_c^2`` with ``w_c`` all the weights that channel ``c`` meets. Over ``||W||^2``, so that
layers count alike, and summed over those that read the tensor, it is the weight of a channel. Any other reader counts
as a layer that passes every channel on as it is: ``1 / channels`` each.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.channels import activation, input_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_output, layout, readers
from onnxq.plan import Edge

FINE = 2**22 - 1  # the largest weight: of 2^41 values the sums still fit 64 bits
COARSE = 2**10 - 1  # where it tells all channels apart: counts that it multiplies still fit 32 bits


@dataclass(frozen=True)
class ChannelWeights:
    """Integers, so that sums are exact: ``each`` of the channels on ``axis``, counted from the right, [channels]."""

    axis: int
    each: tuple[int, ...]

    @property
    def word(self) -> str:
        """The same for the same weights."""
        return blake2b(repr((self.axis, self.each)).encode(), digest_size=8).hexdigest()

    def row(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Of every value of a row (a tensor without its first axis) of that shape, [values]."""
        along = np.array(self.each, np.int64).reshape(-1, *[1] * (-1 - self.axis))
        return np.broadcast_to(along, shape).reshape(-1)


def channel_weights(graph: gs.Graph, tensor: gs.Tensor, edges: Collection[Edge] | None) -> ChannelWeights:
    """For those that read the tensor by ``edges``, None being all. Raises Declined where no layer does."""
    found = [(node, i) for node, i in readers(tensor) if edges is None or (node.name, i) in edges]
    layers = [node for node, i in found if _multiplies(node, i)]
    if not layers:
        raise Declined("no layer with constant weights reads it")
    places = {_axis(node, tensor) for node in layers}
    powers = [_powers(node) for node in layers]
    if len(places) > 1 or len({len(power) for power in powers}) > 1:
        raise Declined("the layers that read it have their channels on different axes")
    others = len(found) - len(layers) + int(edges is None and is_output(graph, tensor))
    total = sum(power / power.sum() for power in powers if power.sum() > 0) + np.full(len(powers[0]), 0.0)
    return ChannelWeights(places.pop(), _integers(total + others / len(total)))


def _multiplies(node: gs.Node, index: int) -> bool:
    return node.op in HEAVY_OPS and layout(node) is not None and activation(node) == index


def _axis(node: gs.Node, tensor: gs.Tensor) -> int:
    """Where the tensor has the channels, from the right. Raises Declined where that may be its first axis."""
    if node.op in ("Conv", "ConvTranspose"):
        return 1 - len(node.inputs[1].shape)
    where = layout(node)
    upright = bool(node.attrs.get("transA", 0)) if node.op == "Gemm" else where is not None and where.index == 0
    if len(tensor.shape or ()) <= 1 + int(upright):
        raise Declined("its first axis is not that of the samples")
    return -1 - int(upright)


def _powers(node: gs.Node) -> Vector:
    """``||w_c||^2`` of every channel that a layer reads."""
    where = layout(node)
    assert where is not None  # it multiplies by a constant
    weight = np.asarray(node.inputs[where.index].values, np.float64)
    groups = where.groups if node.op == "Conv" else 1
    grouped = np.square(weight).reshape(groups, -1, *weight.shape[1:])
    axis = 1 + where.in_axis
    summed: Vector = grouped.sum(axis=tuple(i for i in range(1, grouped.ndim) if i != axis))
    return summed.reshape(input_channels(node))


def _integers(weights: Vector) -> tuple[int, ...]:
    """In proportion, but never 0 where there is any."""
    if not (math.isfinite(weights.sum()) and weights.any()):
        raise Declined("the weights that read it are infinite, or all zero")
    share = weights / weights.max()
    most = COARSE if share[share > 0].min() * COARSE >= 1 else FINE
    return tuple(int(entry) for entry in np.where(share > 0, np.maximum(np.rint(share * most), 1), 0))
