"""Run a model part by part on the same batches, so that what is done to a tensor where one part ends reaches all that
follow. Of every batch only those tensors are kept that later parts read, and every node is computed once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from onnxq.execute import Session
from onnxq.inputs import Array
from onnxq.piece import piece
from onnxq.reads import reads

FEWEST = 4  # batches that are kept, however large they are


@dataclass(frozen=True)
class Part:
    """The nodes that are computed, which tensors they read from outside and give, at which it ``ends``, whoever gave
    them, and what nothing reads afterwards."""

    nodes: tuple[onnx.NodeProto, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    ends: tuple[str, ...]
    done: tuple[str, ...]


class Walk:
    """``stops``: for every part the tensors at which it ends; none of them may need one of a later part."""

    def __init__(
        self, model: onnx.ModelProto, stops: Sequence[Collection[str]], feeds: Iterable[Mapping[str, Array]]
    ) -> None:
        self._model = model
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._parts = iter(_parts(model.graph, stops))
        self.kept: list[dict[str, Array]] = [dict(batch) for batch in feeds]

    def enter(self) -> None:
        """Go on to the next part."""
        self._part, self._session = next(self._parts), None

    def replace(self, constants: Mapping[str, Array]) -> None:
        """Compute parts that are not entered yet with other constants, by name."""
        self._constants |= {name: onnx.numpy_helper.from_array(array, name) for name, array in constants.items()}

    def run(self, at: int) -> dict[str, Array]:
        """The tensors at which the part ends, of batch ``at``; later parts read these arrays.

        Raises ModelError where onnxruntime cannot run the part.
        """
        kept, part = self.kept[at], self._part
        if part.gives:
            fed = {name: kept[name] for name in part.reads}
            if self._session is None:
                alone = piece(self._model, part.nodes, self._constants, fed, part.gives)
                self._session = Session(alone, optimize=False)
            kept.update(self._session.run(fed))
        ends = {name: kept[name] for name in part.ends}
        for name in part.done:
            kept.pop(name, None)
        return ends

    _part: Part
    _session: Session | None


def side_by_side(walks: Sequence[Walk], limit: int) -> Iterator[tuple[dict[str, Array], ...]]:
    """The next part of every walk, batch by batch. The last batches are dropped, except a few, where what waits for
    later parts takes more than ``limit`` bytes: it is for all walks alike what is left."""
    for walk in walks:
        walk.enter()
    at = 0
    while at < len(walks[0].kept):
        yield tuple(walk.run(at) for walk in walks)
        at += 1
        while len(walks[0].kept) > FEWEST and held_bytes(walks) > limit:
            for walk in walks:
                walk.kept.pop()


def held_bytes(walks: Iterable[Walk]) -> int:
    """What walks keep of all batches; an array that several keep, as they do what they are fed, counts once."""
    sizes = {id(array): array.nbytes for walk in walks for kept in walk.kept for array in kept.values()}
    return sum(sizes.values())


def levels(graph: onnx.GraphProto, nodes: Collection[str]) -> list[list[str]]:
    """Some nodes by name, so that none needs what another of its own or of a later level makes."""
    depth: dict[str, int] = {}
    found: dict[int, list[str]] = {}
    for node in graph.node:
        level = max((depth.get(name, 0) for name in reads(node)), default=0)
        if node.name in nodes:
            found.setdefault(level, []).append(node.name)
            level += 1
        depth.update(dict.fromkeys(node.output, level))
    return [found[level] for level in sorted(found)]


def _parts(graph: onnx.GraphProto, stops: Sequence[Collection[str]]) -> list[Part]:
    makers = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    part_of = _first_needed(graph, makers, stops)
    last: dict[str, int] = {}
    for at, number in part_of.items():
        for name in reads(graph.node[at]):
            last[name] = max(number, last.get(name, 0))
    for number, wanted in enumerate(stops):
        last.update((name, max(number, last.get(name, 0))) for name in wanted)
    given = (makers.keys() | {value.name for value in graph.input}) - {tensor.name for tensor in graph.initializer}
    parts = []
    for number, wanted in enumerate(stops):
        nodes = tuple(graph.node[at] for at in sorted(at for at, found in part_of.items() if found == number))
        made = [name for node in nodes for name in node.output if name]
        outside = sorted({name for node in nodes for name in reads(node) if name in given} - set(made))
        gives = tuple(name for name in made if name in wanted or last.get(name, 0) > number)
        ends = tuple(name for name in wanted if name in given)
        done = tuple(name for name in dict.fromkeys((*outside, *gives, *ends)) if last.get(name, 0) <= number)
        parts.append(Part(nodes, tuple(outside), gives, ends, done))
    return parts


def _first_needed(
    graph: onnx.GraphProto, makers: Mapping[str, int], stops: Sequence[Collection[str]]
) -> dict[int, int]:
    """The part that computes each node, by its index: the first that needs what it makes."""
    found: dict[int, int] = {}
    for number, wanted in enumerate(stops):
        pending = list(wanted)
        while pending:
            at = makers.get(pending.pop())
            if at is not None and at not in found:
                found[at] = number
                pending += reads(graph.node[at])
    return found
