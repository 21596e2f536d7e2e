"""Where a factor per channel can travel: which layers make a channel, which read it, and what stands between.

Multiply a channel where it is made and divide it where it is read, and the function is the same, if everything between
commutes with a positive factor. Every channel that a layer makes gets a number; what commutes carries the numbers on
(``channel_rules.py``), a sum makes two of them one, and what does not commute fixes them. A ``Region`` is a set of
numbers that meet in tensors: depthwise triples are two regions with the depthwise layer between, the stream of a
residual network is one region with many layers at its ends.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import is_output, readers

Numbers = NDArray[np.intp]


@dataclass(frozen=True)
class Channels:
    """The numbers of a tensor's channels, and the axis they lie on, of ``rank``."""

    axis: int
    rank: int
    numbers: Numbers

    @property
    def from_right(self) -> int:
        """The axis counted from the last one, as broadcasting does."""
        return self.rank - self.axis


@dataclass(frozen=True)
class End:
    """A node at an end of a region. Entry i of ``channels`` says which of the region's channels its i-th one is."""

    node: gs.Node
    channels: Numbers


@dataclass(frozen=True)
class Region:
    """Channels 0 to ``count`` - 1 that may be multiplied by a factor each: ``makers`` write them, ``takers`` read
    them, ``shifts`` add a constant to them, operators ``through`` lie between. ``fixed`` [count] are those whose factor
    must be 1, for the ``reasons``; ``tensors`` carry them. ``joined``: a sum made channels of several layers one."""

    count: int
    makers: tuple[End, ...]
    takers: tuple[End, ...]
    shifts: tuple[End, ...]
    through: tuple[gs.Node, ...]
    fixed: NDArray[np.bool_]
    reasons: tuple[str, ...]
    tensors: Mapping[str, Channels]
    joined: bool

    @property
    def free(self) -> bool:
        """Whether any of its channels may be multiplied."""
        return bool(self.makers and self.takers and not self.fixed.all())


@dataclass
class Trace:
    """What is known while a graph is walked. Rules (``channel_rules.py``) number, join and fix channels."""

    graph: gs.Graph
    like_relu: Callable[[gs.Node], bool]
    found: dict[str, Channels] = field(default_factory=dict)
    makers: list[End] = field(default_factory=list)
    takers: list[End] = field(default_factory=list)
    shifts: list[End] = field(default_factory=list)
    fixed: dict[int, str] = field(default_factory=dict)
    joined: set[int] = field(default_factory=set)
    parents: list[int] = field(default_factory=list)

    def fresh(self, axis: int, rank: int, count: int) -> Channels:
        """Channels with numbers of their own."""
        start = len(self.parents)
        self.parents.extend(range(start, start + count))
        return Channels(axis, rank, np.arange(start, start + count))

    def join(self, one: Numbers, other: Numbers) -> None:
        """Whatever one is multiplied by, the other is too."""
        for first, second in zip(one, other, strict=True):
            a, b = self.root(int(first)), self.root(int(second))
            self.parents[max(a, b)] = min(a, b)
            self.joined.add(min(a, b))

    def root(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def fix(self, channels: Channels, reason: str) -> None:
        """None of them may be multiplied."""
        for number in channels.numbers:
            self.fixed.setdefault(int(number), reason)


Given = Sequence[Channels | None]
Rule = Callable[[Trace, gs.Node, Given], Sequence[Channels | None]]
"""From the channels of a node's inputs to those of its outputs, None for what cannot be multiplied."""


def regions(graph: gs.Graph, like_relu: Callable[[gs.Node], bool] = lambda clip: False) -> list[Region]:
    """Every region of the graph with a maker and a taker. ``like_relu`` says of a Clip that it clips nothing above."""
    from onnxq.channel_rules import carry

    trace = Trace(graph, like_relu)
    for node in graph.nodes:
        given = [trace.found.get(tensor.name) for tensor in node.inputs]
        for tensor, channels in zip(node.outputs, carry(trace, node, given), strict=False):
            if channels is not None and not tensor.is_empty():
                trace.found[tensor.name] = channels
    _fix_what_leaves(trace)
    return _gathered(trace)


def _fix_what_leaves(trace: Trace) -> None:
    tensors, top = trace.graph.tensors(), {id(node) for node in trace.graph.nodes}
    for name, channels in trace.found.items():
        if is_output(trace.graph, tensors[name]):
            trace.fix(channels, f"{name!r} is an output of the model")
        if any(id(node) not in top for node, _ in readers(tensors[name])):
            trace.fix(channels, f"{name!r} is read in the body of an If, Loop or Scan")


def _gathered(trace: Trace) -> list[Region]:
    """Regions: numbers that lie in one tensor, or in tensors that share a number, belong together."""
    roots = np.array([trace.root(number) for number in range(len(trace.parents))], np.intp)
    region = np.arange(len(roots))  # by root, refined until the numbers of every tensor agree
    groups = [np.unique(roots[c.numbers]) for c in trace.found.values() if len(c.numbers)]
    changed = True
    while changed:
        changed = False
        for group in groups:
            least = region[group].min()
            if (region[group] != least).any():
                region[group], changed = least, True
    where = np.full(len(roots), -1, np.intp)  # by root: its place in its region
    counts: dict[int, int] = {}
    for root in np.unique(roots):
        where[root] = counts.get(int(region[root]), 0)
        counts[int(region[root])] = int(where[root]) + 1
    home, place = region[roots], where[roots]
    return [made for key, count in counts.items() if (made := _region(trace, key, count, home, place)) is not None]


def _region(trace: Trace, key: int, count: int, home: Numbers, place: Numbers) -> Region | None:
    def ends(found: Iterable[End]) -> tuple[End, ...]:
        return tuple(End(e.node, place[e.channels]) for e in found if len(e.channels) and home[e.channels[0]] == key)

    makers, takers = ends(trace.makers), ends(trace.takers)
    if not makers or not takers:
        return None
    held = {number: reason for number, reason in trace.fixed.items() if home[number] == key}
    fixed = np.zeros(count, np.bool_)
    fixed[[place[number] for number in held]] = True
    tensors = {
        name: Channels(c.axis, c.rank, place[c.numbers])
        for name, c in trace.found.items()
        if len(c.numbers) and home[c.numbers[0]] == key
    }
    through = _between(trace.graph, tensors, makers)
    joined = any(home[number] == key for number in trace.joined)
    reasons = tuple(dict.fromkeys(held.values()))
    return Region(count, makers, takers, ends(trace.shifts), through, fixed, reasons, tensors, joined)


def _between(graph: gs.Graph, tensors: Mapping[str, Channels], makers: Sequence[End]) -> tuple[gs.Node, ...]:
    ends = {id(end.node) for end in makers}
    return tuple(
        node for node in graph.nodes if id(node) not in ends and any(tensor.name in tensors for tensor in node.outputs)
    )
