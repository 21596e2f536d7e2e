"""What becomes of layers in the bodies of If, Loop and Scan: they compute in float, and their weights are stored as
integers, of 16 bits: nothing in a body is watched, so nothing tells whether it bears 8. Silero's voice detector, all of
it in an If, is 39 dB or more from FP32 with 16 bits, and with 8 often below 20.

A weight may reach its layer past nodes that only move its elements, which exporters leave in bodies: what these do to
integers they do to the reals that stand for them. So any axis may have the scales; it is the one on which rounding
errs least.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.backends.backend import Backend
from onnxq.graph import HEAVY_OPS, MOVERS, RECURRENT_OPS, data_inputs, every_node, held, producer, subgraph_nodes
from onnxq.plan import Edge, Weight
from onnxq.planning.stored_weights import SMALLEST, worth_storing

Read = tuple[gs.Node, int]
BITS = 16
FEWEST = 16  # values that share a scale, at least: else the scales take what the integers save


@dataclass(frozen=True)
class Inside:
    """Weights of layers in bodies, and a reason for each of these layers that it computes in float."""

    weights: Sequence[Weight]
    floats: Mapping[str, str]


def inside_bodies(graph: gs.Graph, backend: Backend, refusal: Callable[[gs.Node], str | None]) -> Inside:
    """``refusal`` says why a node is to be left alone, if it is."""
    owners = [(owner, node) for owner in graph.nodes for node in subgraph_nodes(owner)]
    bodies = {id(node) for _, node in owners}
    layers = [(owner, node) for owner, node in owners if node.op in (*HEAVY_OPS, *RECURRENT_OPS)]
    read = {node.name: _constants_behind(node, backend.stores_inside.get(node.op, ()), bodies) for _, node in layers}
    claimed: dict[str, list[Read]] = defaultdict(list)
    for _, node in layers:
        for reader, index in [] if refusal(node) else read[node.name]:
            claimed[reader.inputs[index].name].append((reader, index))
    everyone = _readers_by_name(graph)
    declined = {name: reason for name, reads in claimed.items() if (reason := _unfit(reads, everyone[name]))}
    scheme = replace(backend.weight, bits=BITS)
    weights = [
        Weight(name, scheme.along(best_axis(_values(reads[0]))), frozenset(map(_edge, reads)))
        for name, reads in claimed.items()
        if name not in declined
    ]
    stored = {weight.tensor for weight in weights}
    floats = {
        node.name: refusal(node) or _reason(owner, [r.inputs[i].name for r, i in read[node.name]], stored, declined)
        for owner, node in layers
    }
    return Inside(weights, floats)


def _constants_behind(layer: gs.Node, indices: Sequence[int], bodies: set[int]) -> list[Read]:
    """Who reads the constants that become these inputs of the layer, at most moved, all in bodies."""
    found, seen = [], set()
    pending = [(layer, index) for index in indices if index < len(layer.inputs)]
    while pending:
        node, index = pending.pop()
        tensor = node.inputs[index]
        if (id(node), index) in seen:
            continue
        seen.add((id(node), index))
        maker = producer(tensor)
        if held(tensor) is not None:
            found.append((node, index))
        elif maker is not None and id(maker) in bodies and maker.op in MOVERS:
            pending += [(maker, i) for i in data_inputs(maker)]
    return found


def _readers_by_name(graph: gs.Graph) -> Mapping[str, set[Edge]]:
    """A copied graph has an object of its own for a constant in every body that reads it, so names tell."""
    found: dict[str, set[Edge]] = defaultdict(set)
    for node in every_node(graph):
        for index, tensor in enumerate(node.inputs):
            found[tensor.name].add((node.name, index))
    return found


def _unfit(reads: Sequence[Read], everyone: set[Edge]) -> str | None:
    first = _values(reads[0])
    if first.size < SMALLEST:
        return f"its weights are fewer than {SMALLEST:,}, so that storing them as integers saves nothing"
    if not worth_storing(first):
        return "its weights are not a matrix of finite numbers in float32"
    if everyone - set(map(_edge, reads)):
        return "others read its weights too"
    if any(not np.array_equal(first, _values(read)) for read in reads):
        return "another body has other weights of the same name"
    return None


def _reason(owner: gs.Node, weights: Sequence[str], stored: set[str], declined: Mapping[str, str]) -> str:
    inside = f"inside the {owner.op} {owner.name!r}, whose body computes in float"
    if stored.intersection(weights):
        return f"{inside}; its weights are stored as integers"
    reason = next((declined[name] for name in weights if name in declined), None)
    return f"{inside}; {reason}" if reason else inside


def best_axis(values: NDArray[Any]) -> int:
    """The axis whose scales give rounding the least noise: the mean of step squared, and a step is a share of the
    greatest value that it serves."""

    def noise(axis: int) -> float:
        others = tuple(other for other in range(values.ndim) if other != axis)
        return float(np.mean(np.abs(values).max(axis=others).astype(np.float64) ** 2))

    return min((a for a in range(values.ndim) if values.shape[a] * FEWEST <= values.size), key=noise)


def _values(read: Read) -> NDArray[Any]:
    node, index = read
    found = held(node.inputs[index])
    assert found is not None
    return found


def _edge(read: Read) -> Edge:
    node, index = read
    return node.name, index
