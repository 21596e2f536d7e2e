"""Factors that give the channels of every layer one range: cross-layer equalization, iterated over a whole graph.

For two layers in a row Nagel et al. 2019 (arXiv 1906.04721, eq. 11) divide a channel by ``s = sqrt(r1 r2) / r2`` if its
weights reach ``r1`` where it is made and ``r2`` where it is read: both then reach ``sqrt(r1 r2)``. In logarithms that
is the least-squares solution of "at each end, every channel reaches what the mean one does", and so it is found here,
for regions with any number of ends: each channel's factor is moved by the mean of what its ends want. An activation,
whose channels share one grid, is an end too.
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
    """How much ends count: the rows of weights that make a channel, activations, the columns of weights that read it.

    Rows count nothing where each has a scale of its own.
    """

    rows: float = 1.0
    activations: float = 0.5
    columns: float = 1.0


@dataclass
class _Layer:
    """``reach`` is the largest weight between two channels, [groups, made in one, read in one]."""

    reach: Vector
    read: tuple[int, Numbers] | None = None  # a region, and which of its channels
    made: tuple[int, Numbers] | None = None


def factors(regions: Sequence[Region], reaches: Mapping[str, Vector], wants: Wants, gain_db: float) -> list[Vector]:
    """For every region what its channels are multiplied by, [channels]; 1 where they are fixed or always zero, and in
    regions whose ends would gain less than ``gain_db`` on average: a grid that reaches so much less far.

    ``reaches`` has the largest magnitude of every channel of the tensors that layers read, by tensor.
    """
    problem = _Problem(regions, _layers(regions), reaches, wants)
    moving = [True] * len(regions)
    while True:
        logs = problem.solved(moving)
        gained = problem.gained(logs)
        kept = [m and gain >= gain_db for m, gain in zip(moving, gained, strict=True)]
        if kept == moving:
            return [np.exp(log) for log in logs]
        moving = kept  # what the others want of their channels is another thing without them


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
        return np.asarray(flat.reshape(where.groups, -1, flat.shape[1]).transpose(0, 2, 1))
    if where.out_axis == 1:
        flat = flat.T
    return np.asarray(flat.reshape(where.groups, -1, flat.shape[1]))


Ends = list[list[tuple[Numbers, Vector, float]]]
"""By region: the channels of an end, what each of them reaches, and how much the end counts: negatively, if a factor
makes it reach further."""


@dataclass(frozen=True)
class _Problem:
    regions: Sequence[Region]
    layers: Sequence[_Layer]
    reaches: Mapping[str, Vector]
    wants: Wants

    def solved(self, moving: Sequence[bool]) -> list[Vector]:
        """The logarithms of the factors, zero in regions that do not move."""
        logs = [np.zeros(region.count) for region in self.regions]
        free = [move & ~region.fixed for move, region in zip(moving, self.regions, strict=True)]
        for _ in range(ROUNDS):
            moves = [_move(region.count, ends) for region, ends in zip(self.regions, self._ends(logs), strict=True)]
            moves = [np.where(f, move, 0) for f, move in zip(free, moves, strict=True)]
            logs = [np.clip(log + move, -WIDEST, WIDEST) for log, move in zip(logs, moves, strict=True)]
            if max((np.abs(move).max(initial=0) for move in moves), default=0) < STILL:
                break
        return logs

    def gained(self, logs: Sequence[Vector]) -> list[float]:
        """By how much less far the grids of a region's ends reach, in dB: the mean over its ends."""
        before, after = self._ends([np.zeros(region.count) for region in self.regions]), self._ends(logs)
        return [
            float(np.mean([_headroom(old[1]) - _headroom(new[1]) for old, new in zip(olds, news, strict=True)] or [0]))
            for olds, news in zip(before, after, strict=True)
        ]

    def _ends(self, logs: Sequence[Vector]) -> Ends:
        found: Ends = [[] for _ in self.regions]
        for layer in self.layers:
            rows, columns = _reached(layer, logs)
            if layer.made is not None and self.wants.rows:
                found[layer.made[0]].append((layer.made[1], rows, -self.wants.rows))
            if layer.read is not None and self.wants.columns:
                found[layer.read[0]].append((layer.read[1], columns, self.wants.columns))
        for region, log, ends in zip(self.regions, logs, found, strict=True):
            for name in read_tensors(region):
                if name in self.reaches:
                    numbers = region.tensors[name].numbers
                    ends.append((numbers, self.reaches[name] * np.exp(log[numbers]), -self.wants.activations))
        return found


def _move(count: int, ends: Iterable[tuple[Numbers, Vector, float]]) -> Vector:
    """What the ends want the logarithms of the factors to change by: the mean of it, [channels]."""
    pull, weight = np.zeros(count), np.zeros(count)
    for numbers, reach, counts in ends:
        logs, alive = _logs(reach)
        if alive.any():
            np.add.at(pull, numbers, np.where(alive, counts * (logs - logs[alive].mean()), 0))
            np.add.at(weight, numbers, np.where(alive, abs(counts), 0))
    return pull / np.where(weight > 0, weight, 1)


def _headroom(reach: Vector) -> float:
    """How far the loudest channel reaches beyond the mean one, in dB: bits of the grid that most channels lack."""
    logs, alive = _logs(reach)
    return float(20 / np.log(10) * (logs[alive].max() - logs[alive].mean())) if alive.any() else 0.0


def _logs(reach: Vector) -> tuple[Vector, NDArray[np.bool_]]:
    """The logarithms, and which channels are not dead."""
    alive = reach > reach.max(initial=0) * np.exp(-WIDEST)
    return np.log(np.where(alive, reach, 1)), alive


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
