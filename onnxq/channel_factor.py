"""Multiply the channels of a region by a factor each: where they are made, and back again where they are read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.channel_flow import Channels, End, Region
from onnxq.channels import scale_input_channels, scale_output_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_constant, optional
from onnxq.new_constants import NewConstants
from onnxq.workspace import Workspace


def multiply(workspace: Workspace, region: Region, factor: Vector) -> None:
    """``factor`` is [channels of the region], positive. Raises Declined, and then nothing is changed."""
    graph = workspace.graph

    def moved(ends: Sequence[End]) -> list[End]:
        return [end for end in ends if np.any(factor[end.channels] != 1)]

    with whole([end.node for end in (*region.makers, *region.shifts, *region.takers)]):
        for end in moved(region.makers):
            _make(graph, region, end, factor[end.channels])
        for end in moved(region.shifts):
            _scale_constants(graph, end.node, region.tensors[end.node.outputs[0].name], factor[end.channels])
        for end in moved(region.takers):
            scale_input_channels(end.node, 1 / factor[end.channels], np.zeros(len(end.channels)), graph)
    for tensor, channels in region.tensors.items():
        if tensor in workspace.normals:
            workspace.normals[tensor] = workspace.normals[tensor].scaled(factor[channels.numbers])


@contextmanager
def whole(nodes: Sequence[gs.Node]) -> Iterator[None]:
    """What is declined half way leaves the nodes as they were."""
    before = [(node, node.op, dict(node.attrs), list(node.inputs), list(node.outputs)) for node in nodes]
    try:
        yield
    except Declined:
        for node, op, attrs, inputs, outputs in before:
            node.op, node.attrs, node.inputs, node.outputs = op, attrs, inputs, outputs
        raise


def _make(graph: gs.Graph, region: Region, end: End, factor: Vector) -> None:
    node = end.node
    if node.op in HEAVY_OPS:
        scale_output_channels(node, factor, np.zeros(len(factor)), graph)
    elif node.op == "Mul":
        _scale_constants(graph, node, region.tensors[node.outputs[0].name], factor)
    else:  # a normalization: its scale, and its bias if it has one
        for index in (1, 2):
            if optional(node, index) is not None:
                _scale(graph, node, index, factor)


def _scale_constants(graph: gs.Graph, node: gs.Node, channels: Channels, factor: Vector) -> None:
    """Every constant that the node reads, spread over the channels."""
    along = factor.reshape(-1, *[1] * (channels.from_right - 1))
    for index, tensor in enumerate(node.inputs):
        if is_constant(tensor):
            _scale(graph, node, index, along)


def _scale(graph: gs.Graph, node: gs.Node, index: int, factor: Vector) -> None:
    """A constant input becomes its product with the factor."""
    old = node.inputs[index]
    NewConstants(node, graph).setting(index, np.asarray(old.values, np.float64) * factor, old.dtype, "constant").made()
