"""What each grid does to the outputs, measured with that grid alone; and what it takes to be rid of it.

Noises of single grids are taken to add up in power, as ``solving.allocation`` takes them to.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnxq.cost import macs
from onnxq.diagnosing.behind import Behind, Change
from onnxq.diagnosing.parts import noise
from onnxq.diagnosing.switched import switched
from onnxq.execute import Session
from onnxq.few_samples import few
from onnxq.graph import every_node
from onnxq.workspace import Workspace

SAMPLES, BATCH = 8, 4


@dataclass(frozen=True)
class Grid:
    """Of a weight or an activation: ``noise`` it makes, error over signal in power, and the ``readers`` that read
    integers on it. With all of these in float it is gone, unless ``stays``: others need it too."""

    tensor: str
    weight: bool
    noise: float
    readers: frozenset[str]
    stays: bool = False


@dataclass(frozen=True)
class Sensitivity:
    """``work``: multiply-accumulates by the name of a node that computes in integers, 0 for those that have none."""

    grids: tuple[Grid, ...]
    work: Mapping[str, int]


def sensitivity(space: Workspace, time_left: Callable[[], bool], step: Callable[[int, int], None]) -> Sensitivity:
    """Of a workspace whose weights and activations have their grids, and whose graph is still float. A grid that there
    was no time to measure has the mean noise of those of its kind."""
    network = switched(space)
    batches = [batch.feeds for batch in few(space.samples, SAMPLES, BATCH)]
    session = Session(network.wanted, optimize=False)
    wanted = [session.run(feeds) for feeds in batches]
    changes = {("weight", name): Change({name: tensor}) for name, tensor in network.rounded.items()}
    changes |= {("activation", name): Change(on=(switch,)) for name, switch in network.switches.items()}
    alone = Behind(network.wanted, batches)
    found: dict[tuple[str, str], float] = {}
    asked = sorted(changes.items(), key=lambda entry: alone.first(entry[1]))
    for done, (key, change) in enumerate(asked):
        if not time_left():
            break
        step(done, len(asked))
        found[key] = noise(alone, change, wanted)
    step(len(asked), len(asked))
    mean = {
        kind: _mean([noise for (of, _), noise in found.items() if of == kind]) for kind in {of for of, _ in changes}
    }
    known = {key: found.get(key, mean[key[0]]) for key in changes}
    shapes = {name: array.shape for name, array in batches[0].items()}
    counted = macs(space.model(), shapes)
    return Sensitivity(_grids(space, known), {name: counted.get(name, 0) for name in _integer(space)})


def _grids(space: Workspace, known: Mapping[tuple[str, str], float]) -> tuple[Grid, ...]:
    weights = [
        Grid(one.tensor, True, known["weight", one.tensor], frozenset(name for name, _ in one.readers))
        for one in space.weights
        if ("weight", one.tensor) in known
    ]
    activations = [
        Grid(
            name,
            False,
            known["activation", name],
            frozenset(node for node, _ in entry.wanted),
            stays=not entry.wanted,
        )
        for name, entry in space.plan.activations.items()
        if ("activation", name) in known
    ]
    return (*weights, *activations)


def _integer(space: Workspace) -> list[str]:
    """Nodes that read integers, in graph order."""
    names = space.plan.integer | space.plan.nodes
    return [node.name for node in every_node(space.graph) if node.name in names]


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else 1.0
