"""One network whose every grid can be switched: the float graph and the quantized one, with the same tensors.

Each activation that becomes integer has an Identity in the float model where the quantized one has Q and DQ, and each
weight is a constant of one name, with its values or those of its integers. So any set of grids is tried by taking some
nodes and constants of the one model into the other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import HEAVY_OPS, Names, every_node, tidy
from onnxq.model import export
from onnxq.passes import CorrectBias, InsertQdq
from onnxq.passes.insert_qdq import quantize_activation
from onnxq.scheme import dequantize
from onnxq.stages import run
from onnxq.workspace import Pass, Workspace

AT_INPUT = "(input)"  # in place of a layer, where none comes before the tensor


@dataclass(frozen=True)
class Site:
    """A linear layer: the constants and the activations that become integer with it, by name. Activations are those
    that it makes, up to the next layer: what makes them hard to hold is in its weights."""

    layer: str
    op: str
    weights: tuple[str, ...]
    activations: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """What makes an activation integer: the tensor it starts from, the one its readers read, the name of the node that
    makes that one, and all nodes between them."""

    source: str
    result: str
    end: str
    quantizers: tuple[onnx.NodeProto, ...]

    @property
    def identity(self) -> onnx.NodeProto:
        """What stands in their place in the float model."""
        return onnx.helper.make_node("Identity", [self.source], [self.result], name=self.end)


@dataclass(frozen=True)
class Switched:
    """``rounded`` and ``exact``: constants of the quantized and of the float model, by the name of the weight;
    ``switches`` by activation."""

    wanted: onnx.ModelProto
    made: onnx.ModelProto
    sites: tuple[Site, ...]
    rounded: Mapping[str, onnx.TensorProto]
    exact: Mapping[str, onnx.TensorProto]
    switches: Mapping[str, Switch]


def rounded(space: Workspace, steps: Iterable[Pass]) -> Workspace:
    """The workspace with all its grids and integers, whose graph is float, and biases as they were: they make up for
    what all layers together do, not for one."""
    for step in steps:
        if isinstance(step, InsertQdq):
            break
        if not isinstance(step, CorrectBias):
            run(space, step)
    return space


def switched(space: Workspace) -> Switched:
    """Of a workspace whose weights and activations have their grids, and whose graph is still float.

    A weight inside bodies of If, Loop and Scan stays float in both; of a weight that some read as floats, all read
    what stands for its integers.
    """
    sites = _sites(space)
    graph = space.graph.copy()
    names, tensors = Names(graph), graph.tensors()
    exact, rounded = _weights(space, graph)
    chains: dict[str, list[str]] = {}
    for entry in space.plan.activations.values():
        begun = len(graph.nodes)
        quantize_activation(graph, names, tensors[entry.tensor], entry, space.activations[entry.tensor])
        chains[entry.tensor] = [node.name for node in graph.nodes[begun:]]
    tidy(graph)
    made = export(graph, space.source)
    switches = {tensor: found for tensor, chain in chains.items() if (found := _switch(made.graph, set(chain)))}
    wanted = onnx.ModelProto()
    wanted.CopyFrom(made)
    _cut(wanted.graph, switches.values())
    held = {tensor.name for tensor in made.graph.initializer}
    rounded = {name: tensor for name, tensor in rounded.items() if name in held}
    for tensor in made.graph.initializer:
        if tensor.name in rounded:
            tensor.CopyFrom(rounded[tensor.name])
    return Switched(wanted, made, sites, rounded, {name: exact[name] for name in rounded}, switches)


def _switch(graph: onnx.GraphProto, chain: set[str]) -> Switch | None:
    """The nodes of one activation; None where nobody reads what they make."""
    nodes = tuple(node for node in graph.node if node.name in chain)
    makes = [name for node in nodes for name in node.output]
    reads = [name for node in nodes for name in node.input]
    held = {tensor.name for tensor in graph.initializer}
    sources = [name for name in reads if name not in makes and name not in held]
    ends = [node for node in nodes if node.output[0] not in reads]
    return Switch(sources[0], ends[0].output[0], ends[0].name, nodes) if sources and ends else None


def _cut(graph: onnx.GraphProto, switches: Collection[Switch]) -> None:
    """An Identity in place of every switch."""
    gone = {node.name for switch in switches for node in switch.quantizers}
    ends = {switch.end: switch.identity for switch in switches}
    kept = [ends.get(node.name, node) for node in graph.node if node.name in ends or node.name not in gone]
    copies = onnx.GraphProto()
    copies.node.extend(kept)
    del graph.node[:]
    graph.node.extend(copies.node)


def _weights(space: Workspace, graph: gs.Graph) -> tuple[dict[str, onnx.TensorProto], dict[str, onnx.TensorProto]]:
    """By name: the weights of the plan as they are, and as their integers have them."""
    known, exact, made = graph.tensors(), {}, {}
    for weight, rounded in space.weights.items():
        tensor = known.get(weight.tensor)
        if isinstance(tensor, gs.Constant):
            exact[weight.tensor] = onnx.numpy_helper.from_array(np.asarray(tensor.values, np.float32), weight.tensor)
            values = dequantize(rounded.integers, rounded.params)
            made[weight.tensor] = onnx.numpy_helper.from_array(values, weight.tensor)
    return exact, made


def _sites(space: Workspace) -> tuple[Site, ...]:
    """Layers in graph order; activations that no layer comes before are those of the input."""
    order = {node.name: at for at, node in enumerate(every_node(space.graph))}
    ops = {node.name: node.op for node in every_node(space.graph)}
    weights: dict[str, list[str]] = {}
    for weight in space.weights:
        weights.setdefault(min((name for name, _ in weight.readers), key=order.__getitem__), []).append(weight.tensor)
    activations: dict[str, list[str]] = {}
    known = space.graph.tensors()
    for tensor in space.plan.activations:
        layer = _maker(known[tensor], order, set(weights))
        activations.setdefault(layer or AT_INPUT, []).append(tensor)
    names = sorted({*weights, *activations}, key=lambda name: order.get(name, -1))
    return tuple(
        Site(name, ops.get(name, ""), tuple(weights.get(name, ())), tuple(activations.get(name, ()))) for name in names
    )


def _maker(tensor: gs.Tensor, order: Mapping[str, int], layers: set[str]) -> str | None:
    """The last layer before a tensor: of the branches of a sum, the one that ends last."""
    pending, met, found = [tensor], set[int](), list[str]()
    while pending:
        one = pending.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        for node in one.inputs:
            if node.name in layers or node.op in HEAVY_OPS:
                found.append(node.name)
            else:
                pending += node.inputs
    return max(found, key=lambda name: order.get(name, -1), default=None)
