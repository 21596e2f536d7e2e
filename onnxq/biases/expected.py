"""The mean of every channel of a tensor, as far as batch norms that were folded tell it (white paper, sect. 3.2;
Nagel et al. 2019, arXiv 1906.04721, appendix C): ``E[relu(x)]`` of a normal ``x`` is known in closed form, and means
go unchanged through sums, averages and views.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.clip_bounds import bounds
from onnxq.errors import Declined
from onnxq.graph import constant_input, is_constant, producer
from onnxq.normal import Normal

UNTOLD = "no batch norm tells the mean of what it reads"
SAME = frozenset({"Dropout", "GlobalAveragePool", "Identity"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze"})


class Expectations:
    """``normals``: by tensor, how its channels on axis 1 are distributed."""

    def __init__(self, normals: Mapping[str, Normal]) -> None:
        self._normals = normals
        self._found: dict[str, Vector] = {}

    def mean(self, tensor: gs.Tensor) -> Vector:
        """[channels], those on axis 1. Raises Declined where nothing tells."""
        if tensor.name not in self._found:
            self._found[tensor.name] = self._mean(tensor)
        return self._found[tensor.name]

    def _mean(self, tensor: gs.Tensor) -> Vector:
        if tensor.name in self._normals:
            return self._normals[tensor.name].mean
        node = producer(tensor)
        if node is None:
            raise Declined(f"{UNTOLD}: an input of the model")
        if node.op in ("Relu", "Clip", "LeakyRelu"):
            return self._clipped(node)
        if node.op in SAME or (node.op == "ReduceMean" and _keeps_channels(node)) or _averages(node):
            return self.mean(node.inputs[0])
        if node.op in VIEWS:
            return self._viewed(node)
        if node.op == "Concat" and node.attrs["axis"] in (1, 1 - len(tensor.shape or ())):
            return np.concatenate([self.mean(entry) for entry in node.inputs])
        if node.op == "Add" and not any(map(is_constant, node.inputs)):
            one, other = (self.mean(entry) for entry in node.inputs)
            if one.shape == other.shape:
                return one + other
        raise Declined(f"{UNTOLD}: behind {node.op}")

    def _clipped(self, node: gs.Node) -> Vector:
        source = node.inputs[0]
        maker = producer(source)
        while source.name not in self._normals and maker is not None and maker.op in ("Identity", "Dropout"):
            source = maker.inputs[0]
            maker = producer(source)
        if source.name not in self._normals:
            raise Declined(f"{UNTOLD}: {node.op} behind {_op(maker)}")
        normal = self._normals[source.name]
        if node.op == "Clip":
            limits = bounds(node)
            if limits is None:
                raise Declined(f"{UNTOLD}: behind a Clip at bounds that are computed")
            return normal.clipped_mean(*limits)
        slope = float(node.attrs.get("alpha", 0.01)) if node.op == "LeakyRelu" else 0.0
        positive = normal.clipped_mean(0)
        return positive + slope * (normal.mean - positive)

    def _viewed(self, node: gs.Node) -> Vector:
        """[n, c, ...] as [n, c * ...]."""
        before, after = (list(tensor.shape or ()) for tensor in (node.inputs[0], node.outputs[0]))
        found = self.mean(node.inputs[0])
        positions = before[2:]
        if len(after) != 2 or not all(isinstance(size, int) for size in (*positions, after[1])):
            raise Declined(f"{UNTOLD}: behind a {node.op} of unknown shape")
        if after[1] != len(found) * math.prod(positions):
            raise Declined(f"{UNTOLD}: behind a {node.op} that moves channels")
        return np.repeat(found, math.prod(positions))


def _keeps_channels(node: gs.Node) -> bool:
    given = node.attrs.get("axes") if (found := constant_input(node, 1)) is None else found
    rank = len(node.inputs[0].shape or ())
    return given is not None and rank > 2 and sorted(int(axis) % rank for axis in given) == list(range(2, rank))


def _averages(node: gs.Node) -> bool:
    """Whether it is an average over positions of which none is padding."""
    padded = any(node.attrs.get("pads", [])) or node.attrs.get("auto_pad", "NOTSET").startswith("SAME")
    return bool(node.op == "AveragePool" and not (padded and node.attrs.get("count_include_pad", 0)))


def _op(node: gs.Node | None) -> str:
    return "an input" if node is None else node.op
