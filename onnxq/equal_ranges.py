"""Factors that give the channels of every layer one range: cross-layer equalization, iterated over a whole graph.

For two layers in a row Nagel et al. 2019 (arXiv 1906.04721, eq. 11) divide a channel by ``s = sqrt(r1 r2) / r2`` if its
weights reach ``r1`` where it is made and ``r2`` where it is read: both then reach ``sqrt(r1 r2)``. In logarithms that
is the least-squares solution of "at each end, every channel reaches what the mean one does", and so it is found here,
for regions with any number of ends: each channel's factor is moved by the mean of what its ends want. An activation,
whose channels share one grid, is an end too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.channel_flow import Region
from onnxq.components import Numbers
from onnxq.graph import HEAVY_OPS
from onnxq.weight_reach import WeightReach

ROUNDS = 100
STILL = 1e-4  # in logarithms: no channel moves by more, so the solution is found
REPEATS = 8
ACTIVATIONS = 0.5  # how much an activation counts as an end, where weights count 1
WIDEST = float(np.log(2.0**12))  # of a factor; a channel that would need more is as good as dead


@dataclass(frozen=True)
class _End:
    """Channels ``numbers`` of a region, what each ``reaches`` with the logarithms of all regions' factors, and how much
    that ``counts``: negatively, if a factor makes it reach further."""

    numbers: Numbers
    reaches: Callable[[Sequence[Vector]], Vector]
    counts: float


def factors(regions: Sequence[Region], reaches: Mapping[str, Vector], gain_db: float) -> list[Vector]:
    """For every region what its channels are multiplied by, [channels]; 1 where they are fixed or always zero, and in
    regions whose ends would gain less than ``gain_db`` on average: a grid that reaches so much less far.

    ``reaches`` has the largest magnitude of every channel of the tensors that layers read, by tensor.
    """
    ends: list[list[_End]] = [list(_activations(at, region, reaches)) for at, region in enumerate(regions)]
    for at, end in _weights(regions):
        ends[at].append(end)
    problem = _Problem(regions, ends, gain_db)
    logs = [np.zeros(region.count) for region in regions]
    for _ in range(REPEATS):
        better = problem.better(logs)
        if better is None:
            break
        logs = better
    return [np.exp(log) for log in logs]


def read_tensors(region: Region) -> Iterable[str]:
    """The tensors of the region that layers read, each once."""
    return dict.fromkeys(end.node.inputs[0].name for end in region.takers)


def _activations(at: int, region: Region, reaches: Mapping[str, Vector]) -> Iterator[_End]:
    for name in read_tensors(region):
        if name in reaches:
            yield _activation(at, region.tensors[name].numbers, reaches[name])


def _activation(at: int, numbers: Numbers, reach: Vector) -> _End:
    return _End(numbers, lambda logs: reach * np.exp(logs[at][numbers]), -ACTIVATIONS)


def _weights(regions: Sequence[Region]) -> Iterator[tuple[int, _End]]:
    """Ends of the layers' weights, each with its region."""
    layers: dict[int, WeightReach] = {}
    for at, region in enumerate(regions):
        for end in region.makers:
            if end.node.op in HEAVY_OPS:
                layers.setdefault(id(end.node), WeightReach(end.node)).made = (at, end.channels)
        for end in region.takers:
            layers.setdefault(id(end.node), WeightReach(end.node)).read = (at, end.channels)
    for layer in layers.values():
        if layer.made is not None and layer.finite:
            yield layer.made[0], _End(layer.made[1], layer.rows, -1)
        if layer.read is not None and layer.finite:
            yield layer.read[0], _End(layer.read[1], layer.columns, 1)


@dataclass(frozen=True)
class _Problem:
    regions: Sequence[Region]
    ends: Sequence[Sequence[_End]]
    gain_db: float

    def better(self, start: Sequence[Vector]) -> list[Vector] | None:
        """Logarithms with which regions reach less far than with those they ``start`` with, if any can."""
        moving = [True] * len(self.regions)
        while any(moving):
            logs = self._solved(start, moving)
            kept = [m and self._gained(at, start, logs) >= self.gain_db for at, m in enumerate(moving)]
            if kept == moving:
                return logs
            moving = kept  # what the others want of their channels is another thing without them
        return None

    def _solved(self, start: Sequence[Vector], moving: Sequence[bool]) -> list[Vector]:
        logs = list(start)
        for _ in range(ROUNDS):
            moves = {at: self._move(at, logs) for at, moves in enumerate(moving) if moves}
            moves = {at: move for at, move in moves.items() if np.abs(move).max() >= STILL}
            if not moves:
                break
            for at, move in moves.items():
                logs[at] = np.clip(logs[at] + move, start[at] - WIDEST, start[at] + WIDEST)
        return logs

    def _move(self, at: int, logs: Sequence[Vector]) -> Vector:
        """What the ends want the logarithms of the factors to change by: the mean of it, [channels]."""
        count = self.regions[at].count
        pull, weight = np.zeros(count), np.zeros(count)
        for end in self.ends[at]:
            found, alive = _logs(end.reaches(logs))
            if alive.any():
                wanted = np.where(alive, end.counts * (found - found[alive].mean()), 0)
                pull += np.bincount(end.numbers, wanted, count)
                weight += np.bincount(end.numbers, abs(end.counts) * alive, count)
        return np.where(self.regions[at].fixed, 0, pull / np.where(weight > 0, weight, 1))

    def _gained(self, at: int, before: Sequence[Vector], after: Sequence[Vector]) -> float:
        """By how much less far the grids of a region's ends reach, in dB: the mean over its ends."""
        gains = [_headroom(end.reaches(before)) - _headroom(end.reaches(after)) for end in self.ends[at]]
        return float(np.mean(gains or [0]))


def _headroom(reach: Vector) -> float:
    """How far the loudest channel reaches beyond the mean one, in dB: bits of the grid that most channels lack."""
    logs, alive = _logs(reach)
    return float(20 / np.log(10) * (logs[alive].max() - logs[alive].mean())) if alive.any() else 0.0


def _logs(reach: Vector) -> tuple[Vector, NDArray[np.bool_]]:
    """The logarithms, and which channels are not dead."""
    alive = reach > reach.max(initial=0) * np.exp(-WIDEST)
    return np.log(np.where(alive, reach, 1)), alive
