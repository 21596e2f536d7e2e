"""Factors that give the channels of every layer one range: cross-layer equalization, iterated over a whole graph.

For two layers in a row Nagel et al. 2019 (arXiv 1906.04721, eq. 11; white paper, eq. 20) choose ``s = sqrt(r1 r2) / r2``
for a channel whose weights reach ``r1`` where it is made and ``r2`` where it is read: both become ``sqrt(r1 r2)``. In
logarithms that is the least-squares solution of "at each end, every channel reaches what the mean one does", and so it
is found here, for regions with any number of ends: each channel's factor is moved by the mean of what its ends want.
Where the activation shares one grid, its ranges are an end too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.channel_flow import Numbers, Region
from onnxq.graph import HEAVY_OPS, layout

Vector = NDArray[np.float64]
ROUNDS = 100
STILL = 1e-4  # in logarithms: no channel moves by more, so the solution is found
WIDEST = float(np.log(2.0**12))  # of a factor; a channel that would need more is as good as dead


@dataclass(frozen=True)
class Wants:
    """How much the ends count: rows of the weights where a channel is made, the activation, columns where it is read."""

    rows: float = 1.0
    activations: float = 0.0
    columns: float = 1.0


@dataclass
class _Layer:
    """``reach`` is the largest weight between two channels, [groups, made in one, read in one]."""

    reach: Vector
    read: tuple[int, Numbers] | None = None  # a region, and which of its channels
    made: tuple[int, Numbers] | None = None


def factors(regions: Sequence[Region], reaches: Mapping[str, Vector], wants: Wants) -> list[Vector]:
    """For every region what its channels are multiplied by, [channels]; 1 where they are fixed or always zero.

    ``reaches`` has the largest magnitude of every channel of the tensors that layers read, by tensor.
    """
    layers = _layers(regions)
    activations = [
        [(region.tensors[name].numbers, reaches[name]) for name in read_tensors(region) if name in reaches]
        for region in regions
    ]
    logs = [np.zeros(region.count) for region in regions]
    free = [~region.fixed for region in regions]
    for _ in range(ROUNDS):
        pulls, weights = [np.zeros(r.count) for r in regions], [np.zeros(r.count) for r in regions]
        for layer in layers:
            rows, columns = _reached(layer, logs)
            if layer.made is not None:
                _pull(pulls, weights, layer.made, rows, -wants.rows)
            if layer.read is not None:
                _pull(pulls, weights, layer.read, columns, wants.columns)
        for at, seen in enumerate(activations):
            for numbers, reach in seen:
                _pull(pulls, weights, (at, numbers), reach * np.exp(logs[at][numbers]), -wants.activations)
        moves = [f * p / np.where(w > 0, w, 1) for f, p, w in zip(free, pulls, weights, strict=True)]
        for log, move in zip(logs, moves, strict=True):
            np.clip(log + move, -WIDEST, WIDEST, out=log)
        if max((np.abs(move).max(initial=0) for move in moves), default=0) < STILL:
            break
    return [np.exp(log) for log in logs]


def read_tensors(region: Region) -> Iterable[str]:
    """The tensors of the region that layers read, each once."""
    return dict.fromkeys(end.node.inputs[0].name for end in region.takers)


def _layers(regions: Sequence[Region]) -> list[_Layer]:
    found: dict[int, _Layer] = {}
    for at, region in enumerate(regions):
        for end in region.makers:
            if end.node.op in HEAVY_OPS:
                found.setdefault(id(end.node), _Layer(_reach(end.node))).made = (at, end.channels)
        for end in region.takers:
            found.setdefault(id(end.node), _Layer(_reach(end.node))).read = (at, end.channels)
    return list(found.values())


def _reach(node: gs.Node) -> Vector:
    where = layout(node)
    assert where is not None  # it is an end of a region
    weight = np.abs(np.asarray(node.inputs[where.index].values))
    flat = weight.reshape(*weight.shape[:2], -1).max(axis=2).astype(np.float64)
    if node.op == "ConvTranspose":
        return flat.reshape(where.groups, -1, flat.shape[1]).transpose(0, 2, 1)
    if where.out_axis == 1:
        flat = flat.T
    return flat.reshape(where.groups, -1, flat.shape[1])


def _reached(layer: _Layer, logs: Sequence[Vector]) -> tuple[Vector, Vector]:
    """What the weights of every made, and of every read channel reach with the factors so far."""
    groups, made, read = layer.reach.shape
    reach = layer.reach
    if layer.made is not None:
        at, numbers = layer.made
        reach = reach * np.exp(logs[at][numbers]).reshape(groups, made, 1)
    if layer.read is not None:
        at, numbers = layer.read
        reach = reach * np.exp(-logs[at][numbers]).reshape(groups, 1, read)
    return reach.max(axis=2).ravel(), reach.max(axis=1).ravel()


def _pull(
    pulls: Sequence[Vector], weights: Sequence[Vector], end: tuple[int, Numbers], reach: Vector, weight: float
) -> None:
    """An end wants its channels to reach what the mean one does, in logarithms; dead ones want nothing."""
    at, numbers = end
    alive = reach > reach.max(initial=0) * np.exp(-WIDEST)
    if not weight or not alive.any():
        return
    logs = np.log(np.where(alive, reach, 1))
    wanted = np.where(alive, logs - logs[alive].mean(), 0)
    np.add.at(pulls[at], numbers, weight * wanted)
    np.add.at(weights[at], numbers, np.where(alive, abs(weight), 0))
