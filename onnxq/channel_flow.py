"""Where a factor per channel can travel: which layers make a channel, which read it, and what stands between.

Multiply a channel where it is made and divide it where it is read, and the function is the same, if everything between
commutes with a positive factor. Every channel that a layer makes gets a number; what commutes carries the numbers on
(``channel_rules.py``), a sum makes two of them one, and what does not commute fixes them. A ``Region`` is a set of
numbers that meet in tensors: depthwise triples are two regions with the depthwise layer between, the stream of a
residual network is one region with many layers at its ends.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.components import Numbers, components
from onnxq.graph import readers

Entry = TypeVar("Entry")


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

    like_relu: Callable[[gs.Node], bool]
    found: dict[str, Channels] = field(default_factory=dict)
    makers: list[End] = field(default_factory=list)
    takers: list[End] = field(default_factory=list)
    shifts: list[End] = field(default_factory=list)
    fixed: list[tuple[Numbers, str]] = field(default_factory=list)
    joined: list[tuple[Numbers, Numbers]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # of what was numbered at once
    count: int = 0

    def fresh(self, axis: int, rank: int, count: int) -> Channels:
        """Channels with numbers of their own."""
        start = self.count
        self.sizes.append(count)
        self.count += count
        return Channels(axis, rank, np.arange(start, start + count))

    def join(self, one: Channels, other: Channels) -> None:
        """Whatever one is multiplied by, the other is too."""
        self.joined.append((one.numbers, other.numbers))

    def fix(self, channels: Channels, reason: str) -> None:
        """None of them may be multiplied."""
        self.fixed.append((channels.numbers, reason))


Given = Sequence[Channels | None]
Rule = Callable[[Trace, gs.Node, Given], Sequence[Channels | None]]
"""From the channels of a node's inputs to those of its outputs, None for what cannot be multiplied."""


def regions(graph: gs.Graph, like_relu: Callable[[gs.Node], bool] = lambda clip: False) -> list[Region]:
    """Every region of the graph with a maker and a taker. ``like_relu`` says of a Clip that it clips nothing above."""
    from onnxq.channel_rules import carry

    trace = Trace(like_relu)
    for node in graph.nodes:
        given = [trace.found.get(tensor.name) for tensor in node.inputs]
        for tensor, channels in zip(node.outputs, carry(trace, node, given), strict=False):
            if channels is not None and not tensor.is_empty():
                trace.found[tensor.name] = channels
    tensors = graph.tensors()
    makers = {name: tensors[name].inputs[0] for name in trace.found}
    _fix_what_leaves(trace, graph, makers)
    return _gathered(trace, makers)


def _fix_what_leaves(trace: Trace, graph: gs.Graph, makers: Mapping[str, gs.Node]) -> None:
    """Channels that are read where the walk has not come by."""
    walked = {id(node): at for at, node in enumerate(graph.nodes)}
    outputs = {id(tensor) for tensor in graph.outputs}
    for name, channels in trace.found.items():
        (tensor,) = (tensor for tensor in makers[name].outputs if tensor.name == name)
        if id(tensor) in outputs:
            trace.fix(channels, f"{name!r} is an output of the model")
        if any(walked.get(id(node), -1) <= walked[id(makers[name])] for node, _ in readers(tensor)):
            trace.fix(channels, f"{name!r} is read in the body of an If, Loop or Scan")


def _gathered(trace: Trace, makers: Mapping[str, gs.Node]) -> list[Region]:
    """Regions: numbers that lie in one tensor, or in tensors that share a number, belong together."""
    roots = components(trace.count, trace.joined)
    home = _homes(trace)
    place = _places(roots, home)
    ends = [_by_home(home, found, lambda end: end.channels) for found in (trace.makers, trace.takers, trace.shifts)]
    fixed = _by_home(home, trace.fixed, lambda entry: entry[0])
    joined = _by_home(home, trace.joined, lambda entry: entry[0])
    tensors = _by_home(home, trace.found.items(), lambda entry: entry[1].numbers)
    found = []
    for key in sorted(ends[0].keys() & ends[1].keys()):
        made, taken, shifted = (tuple(End(e.node, place[e.channels]) for e in kind[key]) for kind in ends)
        carried = {name: Channels(c.axis, c.rank, place[c.numbers]) for name, c in tensors[key]}
        held = np.zeros(1 + max(channels.numbers.max() for channels in carried.values()), np.bool_)
        for numbers, _ in fixed[key]:
            held[place[numbers]] = True
        reasons = tuple(dict.fromkeys(reason for _, reason in fixed[key]))
        through = _between([makers[name] for name in carried], made)
        found.append(Region(len(held), made, taken, shifted, through, held, reasons, carried, bool(joined[key])))
    return found


def _between(nodes: Iterable[gs.Node], ends: Iterable[End]) -> tuple[gs.Node, ...]:
    """Those that are no ends, each once."""
    writing = {id(end.node) for end in ends}
    return tuple({id(node): node for node in nodes if id(node) not in writing}.values())


def _homes(trace: Trace) -> Numbers:
    """By number, the region it is in. What was numbered at once lies in one tensor, so in one region."""
    origin = np.repeat(np.arange(len(trace.sizes)), trace.sizes)
    shared = {id(channels.numbers): channels.numbers for channels in trace.found.values()}  # by many tensors, most
    together = [np.unique(origin[numbers]) for numbers in shared.values()]
    joined = [(origin[one[:1]], np.unique(origin[other])) for one, other in trace.joined]
    return components(len(trace.sizes), [*((some[:1], some) for some in together), *joined])[origin]


def _places(roots: Numbers, home: Numbers) -> Numbers:
    """By number, which channel of its region it is: 0, 1, ..., one for all that are joined."""
    single = np.flatnonzero(roots == np.arange(len(roots)))
    single = single[np.argsort(home[single], kind="stable")]
    at, homes = np.arange(len(single)), home[single]
    first = np.where(homes == np.roll(homes, 1), 0, at)  # of its region, 0 for those behind it
    place = np.empty_like(roots)
    place[single] = at - np.maximum.accumulate(first)
    return place[roots]


def _by_home(
    home: Numbers, entries: Iterable[Entry], numbers: Callable[[Entry], Numbers]
) -> defaultdict[int, list[Entry]]:
    """The entries of every region; all numbers of an entry are of one."""
    found: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        if len(numbers(entry)):
            found[int(home[numbers(entry)[0]])].append(entry)
    return found
