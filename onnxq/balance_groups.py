"""The activations whose channels may be multiplied by a factor each that the layers reading them take back."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.channel_flow import Region, regions
from onnxq.channel_statistics import Along
from onnxq.components import Numbers
from onnxq.graph import HEAVY_OPS, is_constant, layout
from onnxq.planning.eligibility import is_float32


@dataclass(frozen=True)
class Reading:
    """An activation and the ``layers`` that read it. Its i-th channel is the ``channels[i]``-th of the group."""

    tensor: str
    along: Along
    layers: tuple[gs.Node, ...]
    channels: Numbers

    @property
    def columns(self) -> list[Vector]:
        """Of every layer the weights that each channel is multiplied by, [channels, weights]."""
        return [columns(layer) for layer in self.layers]


@dataclass(frozen=True)
class Group:
    """Channels that one vector of factors multiplies: those of a ``region``, whose layers and norms take it, or those
    of one activation, for its layers alone. ``fixed`` [channels] are those whose factor must be 1."""

    readings: tuple[Reading, ...]
    fixed: NDArray[np.bool_]
    region: Region | None = None

    @property
    def first(self) -> gs.Node:
        """The layer that stands for the group in what is told of it."""
        return self.readings[0].layers[0]


def groups(graph: gs.Graph, makers_pay: bool) -> list[Group]:
    """Every group of the graph. ``makers_pay``: a layer's weights have one grid, so that a factor in its output
    channels costs integers; only norms take one then."""
    found: list[Group] = []
    for region in regions(graph):
        costs = makers_pay and any(end.node.op in HEAVY_OPS for end in region.makers)
        if region.free and not costs and all(is_float32(end.node.inputs[1]) for end in region.takers):
            found.append(Group(tuple(_of_region(region)), region.fixed, region))
    seen = {reading.tensor for group in found for reading in group.readings}
    for reading in _alone(graph):
        if reading.tensor not in seen:
            found.append(Group((reading,), np.zeros(len(reading.channels), np.bool_)))
    return found


def _of_region(region: Region) -> Iterable[Reading]:
    layers: dict[str, list[gs.Node]] = {}
    for end in region.takers:
        layers.setdefault(end.node.inputs[0].name, []).append(end.node)
    for tensor, nodes in layers.items():
        held = region.tensors[tensor]
        yield Reading(tensor, Along(held.axis, held.rank), tuple(nodes), held.numbers)


def _alone(graph: gs.Graph) -> Iterable[Reading]:
    """Every activation that linear layers of constant float32 weight read."""
    layers: dict[tuple[str, Along], list[gs.Node]] = {}
    for node in graph.nodes:
        along = _along(node) if node.op in HEAVY_OPS else None
        if along is not None:
            layers.setdefault((node.inputs[0].name, along), []).append(node)
    for (tensor, along), nodes in layers.items():
        yield Reading(tensor, along, tuple(nodes), np.arange(len(columns(nodes[0]))))


def _along(node: gs.Node) -> Along | None:
    """Where the channels lie that the layer sums over, if it could be integer and that is known."""
    where, read = layout(node), node.inputs[0]
    if where is None or where.index != 1 or is_constant(read) or not is_float32(node.inputs[1]):
        return None
    weight = node.inputs[1].values
    if not np.isfinite(weight).all() or node.attrs.get("transA", 0) or (node.op == "MatMul" and weight.ndim != 2):
        return None
    if node.op == "MatMul":
        return None if read.shape is None else Along(len(read.shape) - 1, len(read.shape))
    return Along(1, weight.ndim)


def columns(layer: gs.Node) -> Vector:
    """The weights that each channel which the layer reads is multiplied by, [channels, weights]."""
    where = layout(layer)
    assert where is not None  # it is in a group
    weight = np.asarray(layer.inputs[where.index].values, np.float64)
    if layer.op != "Conv":
        return np.moveaxis(weight, where.in_axis, 0).reshape(weight.shape[where.in_axis], -1)
    grouped = weight.reshape(where.groups, -1, *weight.shape[1:])
    return np.moveaxis(grouped, 2, 1).reshape(where.groups * weight.shape[1], -1)
