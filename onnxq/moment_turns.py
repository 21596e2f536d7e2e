"""Which second moments to collect of a graph's layers, how many columns of them, and in how many runs.

A whole ``H`` of a wide layer takes hundreds of megabytes, so it may be one of diagonal blocks, and layers that find no
room beside each other are collected one run after the other.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import onnx_graphsurgeon as gs

from onnxq.channels import activation
from onnxq.columns import Columns, columns_of
from onnxq.errors import Declined, RecipeError
from onnxq.graph import every_node, is_constant
from onnxq.second_moments import Moments, SecondMoments
from onnxq.watching import watch
from onnxq.workspace import Pass, Workspace

LIMIT = 2**30  # bytes
BLOCK = 2304  # columns: a Conv of 3x3 pixels and 256 channels is one block, of 42 MB
SAMPLES = 64  # that there are at least, where only reading would tell
DENSITY = 16
"""Columns for each one of a block. With weights of 4 bits, solved by GPTQ on so many, resnet20's layers err on other
images by 1.3 % more than with those solved on all positions (14 to 5,000 for each one); on 8 by 5 %, on 4 by 12 %."""


@runtime_checkable
class ReadsMoments(Protocol):
    """A pass that reads second moments. While the graph is calibrated those it ``reads_moments_of`` are collected, if
    they fit into ``moments_limit`` bytes; else they are when it calls ``collect_moments``."""

    @property
    def moments_limit(self) -> int: ...

    def reads_moments_of(self, workspace: Workspace, /) -> Collection[str]:
        """Names of layers."""


def second_moments(
    graph: gs.Graph, node: gs.Node, samples: int, limit: int = LIMIT, block: int = BLOCK
) -> SecondMoments:
    """What to watch for a layer, over so many samples: blocks of at most ``block`` columns, of fewer where the layer
    alone would be over ``limit`` bytes. Raises Declined, and RecipeError where even blocks of one channel would be."""
    columns = columns_of(node)
    read = node.inputs[activation(node)]
    if is_constant(read):
        raise Declined("it reads a constant")
    if not any(entry is node for entry in graph.nodes):
        raise Declined("it stands in the body of an If, Loop or Scan")
    while True:
        blocks = blocks_of(columns, block)
        found = SecondMoments(read.name, columns, -(-DENSITY * max(blocks) // samples), blocks)
        if _bytes([found]) <= limit:
            return found
        if max(blocks) == columns.together:
            raise RecipeError(
                f"limit: second moments of {node.name!r} take {_bytes([found])} bytes, {limit} are allowed. Allow more."
            )
        block = max(blocks) // 2


def blocks_of(columns: Columns, block: int) -> tuple[int, ...]:
    """Sizes of blocks of alike many channels, at most ``block`` columns each, or one channel."""
    channels = columns.size // columns.together
    count = min(-(-columns.size // max(block, 1)), channels)
    ends = [channels * (i + 1) // count * columns.together for i in range(count)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def turns(wanted: Mapping[str, SecondMoments], limit: int = LIMIT) -> list[list[str]]:
    """The layers of each run, in their order; those of one run fit into ``limit`` bytes together."""
    found: list[list[str]] = []
    together: set[SecondMoments] = set()
    for name, watcher in wanted.items():
        if not found or _bytes(together | {watcher}) > limit:
            found.append([])
            together = set()
        together.add(watcher)
        found[-1].append(name)
    return found


def _bytes(together: Collection[SecondMoments]) -> int:
    """Of memory, for those collected in one run; they are merged one after the other."""
    return sum(watcher.nbytes for watcher in together) + max(watcher.merging for watcher in together)


def collect_moments(
    workspace: Workspace, layers: Collection[str], limit: int = LIMIT, *, block: int = BLOCK
) -> Iterator[tuple[str, Moments]]:
    """Names and moments in graph order, within ``limit`` bytes of memory if the caller lets go of those it has seen.

    What is known already costs no run. The ledger is told of layers that have none. Raises RecipeError where the
    limit is too small for a layer of its own.
    """
    wanted = _wanted(workspace, layers, limit, block)
    if all(watcher in workspace.kept for watcher in wanted.values()):
        yield from ((name, workspace.seen(watcher)) for name, watcher in wanted.items())
        return
    order, count = turns(wanted, limit), workspace.samples.count
    for done, names in enumerate(order):
        found = watch(
            workspace.lean(),
            {watcher: watcher for watcher in {wanted[name] for name in names}},
            workspace.samples,
            batch=workspace.batch,
            step=partial(_tell, workspace, done * (count or 0), count and count * len(order)),
            cluster=workspace.cluster,
            tell=lambda reason: workspace.ledger.add("warning", "moments", "cluster", reason),
        )
        last = {wanted[name]: name for name in names}
        for name in names:
            watcher = wanted[name]
            yield name, found.pop(watcher) if last[watcher] == name else found[watcher]


def beside_statistics(spaces: Sequence[Workspace], steps: Sequence[Pass]) -> frozenset[SecondMoments]:
    """What the passes to come read of second moments, to be collected in the run that collects statistics: all of it
    where it fits into the least of their limits, else nothing."""
    asking = [step for step in steps if isinstance(step, ReadsMoments)]
    if not asking:
        return frozenset()
    limit = min(step.moments_limit for step in asking)
    wanted = {
        name: watcher
        for space in spaces
        for step in asking
        for name, watcher in _wanted(space, step.reads_moments_of(space), limit, BLOCK).items()
    }
    return frozenset(wanted.values()) if len(turns(wanted, limit)) <= 1 else frozenset()


def _wanted(workspace: Workspace, layers: Collection[str], limit: int, block: int) -> dict[str, SecondMoments]:
    """By layer, in graph order."""
    found, count = {}, workspace.samples.count or SAMPLES
    for node in every_node(workspace.graph):
        if node.name in layers:
            try:
                found[node.name] = second_moments(workspace.graph, node, count, limit, block)
            except Declined as reason:
                workspace.ledger.add("declined", "moments", node.name, f"no second moments: {reason}", node.op)
    return found


def _tell(workspace: Workspace, before: int, total: int | None, done: int) -> None:
    workspace.progress("moments", before + done, total)
