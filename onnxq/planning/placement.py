"""From a graph and a backend's table to a plan.

Linear layers start integer regions: their activations are quantized. Sums, concats, pools and data movers
between such regions join them where the backend wants it, found as the greatest set in which each has integers on
both sides. What follows the last linear layer (decode tails, detection heads) has no integer reader and
so stays in float, whatever it is named.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend, Reads, Rule
from onnxq.errors import Declined
from onnxq.graph import (
    HEAVY_OPS,
    data_inputs,
    data_outputs,
    is_constant,
    layout,
    producer,
    readers,
    sole_reader,
)
from onnxq.nonlinear import function_behind
from onnxq.plan import Activation, Edge, Plan, Weight
from onnxq.planning.attention import is_cut_projection
from onnxq.planning.bodies import inside_bodies
from onnxq.planning.detours import detour
from onnxq.planning.eligibility import dtype_name, integer_operands, undersized
from onnxq.planning.reasons import float_reason
from onnxq.planning.stored_weights import AXIS, stored_weights
from onnxq.planning.tails import before_a_layer, is_expectation
from onnxq.planning.weights_alone import weights_alone
from onnxq.scheme import Scheme

FLOATS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Wishes:
    """What the user asked of the plan. ``exclude`` are regular expressions searched in node names; without
    ``activations`` nothing but weights becomes integer."""

    exclude: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    activations: bool = True

    def refusal(self, node: gs.Node) -> str | None:
        for pattern in self.exclude:
            if re.search(pattern, node.name):
                return f"excluded by {pattern!r}"
        return f"{node.op} is kept in float on request" if node.op in self.keep_float else None


@dataclass
class _Sketch:
    """A plan in the making. ``small`` are layers in which integers gain nothing, and why."""

    small: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, set[Edge]] = field(default_factory=lambda: defaultdict(set))
    written: dict[str, None] = field(default_factory=dict)
    weights: dict[tuple[str, Scheme], set[Edge]] = field(default_factory=lambda: defaultdict(set))
    floats: dict[str, str] = field(default_factory=dict)
    grids: dict[str, str] = field(default_factory=dict)

    def want(self, node: gs.Node, indices: Sequence[int]) -> None:
        for index in indices:
            self.wanted[node.inputs[index].name].add((node.name, index))


def place(graph: gs.Graph, backend: Backend, wishes: Wishes) -> Plan:
    """The plan of ``graph`` for ``backend``; nothing in the graph changes."""
    if not wishes.activations:
        return weights_alone(graph, backend, wishes.refusal)
    sketch = _Sketch(small=undersized(graph, backend))
    for node in graph.nodes:
        _place_layer(graph, node, backend, wishes, sketch)
    _join_regions(graph, backend, wishes, sketch)
    _place_sums(graph, backend, wishes, sketch)
    _share_grids(graph, backend, sketch)
    _store(graph, backend, wishes, sketch)
    _explain(graph, backend, wishes, sketch)
    return detour(graph, backend, _finish(graph, sketch, backend))


def _place_layer(graph: gs.Graph, node: gs.Node, backend: Backend, wishes: Wishes, sketch: _Sketch) -> None:
    rule = backend.rules.get(node.op)
    if node.op not in HEAVY_OPS:
        return
    try:
        if rule is None:
            raise Declined(backend.refuses.get(node.op, f"{backend.title} has no integer {node.op}"))
        if reason := wishes.refusal(node):
            raise Declined(reason)
        if node.name in sketch.small:
            raise Declined(sketch.small[node.name])
        if is_expectation(node):
            raise Declined("it decodes: an expectation over a Softmax, such as that of a box's side")
        activations = integer_operands(node, backend)
    except Declined as reason:
        sketch.floats[node.name] = str(reason)
        return
    sketch.want(node, activations)
    where = layout(node)
    if where is not None:
        # Engines compute a batch of matrices, or a weight on the left, with one scale for all of it, or wrongly.
        whole = node.op == "MatMul" and (len(node.inputs[where.index].shape) > 2 or where.index == 0)
        whole |= not backend.per_channel or (backend.cuts_projections and is_cut_projection(node))
        scheme = backend.weight.along(None if whole else where.out_axis)
        sketch.weights[node.inputs[where.index].name, scheme].add((node.name, where.index))
    if rule.writes or (backend.splits_bias and _fuses_in_float(graph, node, backend)):
        sketch.written[partition_output(graph, node, backend).name] = None


def _fuses_in_float(graph: gs.Graph, node: gs.Node, backend: Backend) -> bool:
    """Whether the next node, the sum with a bias or an activation, would be fused into a float kernel."""
    reader = sole_reader(graph, node.outputs[0])
    if reader is None:
        return False
    biased = node.op == "MatMul" and reader.op == "Add" and any(map(is_constant, reader.inputs))
    return biased or reader.op in backend.absorbs


def partition_output(graph: gs.Graph, node: gs.Node, backend: Backend, index: int = 0) -> gs.Tensor:
    """The node's output, or that of the activation which vanishes into the quantizer behind it."""
    tensor = node.outputs[index]
    reader = sole_reader(graph, tensor)
    return reader.outputs[0] if reader is not None and reader.op in backend.absorbs else tensor


def _maker(graph: gs.Graph, tensor: gs.Tensor, backend: Backend) -> gs.Node | None:
    """The node whose partition output the tensor is."""
    node = producer(tensor)
    if node is None or node.op not in backend.absorbs:
        return node
    absorbed = sole_reader(graph, node.inputs[0]) is node
    return producer(node.inputs[0]) if absorbed else node


def _join_regions(graph: gs.Graph, backend: Backend, wishes: Wishes, sketch: _Sketch) -> None:
    """Grow integer regions over the nodes between them: start with every candidate, drop those that lack integers
    on a side, until none does."""
    candidates = {
        node.name: node
        for node in graph.nodes
        if _rule(backend, node).reads is Reads.ENCLOSED
        and not wishes.refusal(node)
        and not any(is_constant(node.inputs[i]) for i in data_inputs(node))
    }

    giving = {
        node.name
        for node in graph.nodes
        if node.op in HEAVY_OPS and node.name not in sketch.floats and backend.rules[node.op].gives
    }

    def integer(tensor: gs.Tensor) -> bool:
        if tensor.name in sketch.written or tensor.name in sketch.wanted:
            return True
        maker = _maker(graph, tensor, backend)
        return maker is not None and (maker.name in candidates or maker.name in giving)

    def read_as_integer(tensor: gs.Tensor) -> bool:
        return any(
            (node.name, index) in sketch.wanted.get(tensor.name, ()) or node.name in candidates
            for node, index in readers(tensor)
        )

    def enclosed(node: gs.Node) -> bool:
        results = [partition_output(graph, node, backend, i) for i in data_outputs(node)]
        return all(integer(node.inputs[i]) for i in data_inputs(node)) and any(map(read_as_integer, results))

    while dropped := [name for name, node in candidates.items() if not enclosed(node)]:
        for name in dropped:
            del candidates[name]
    for node in candidates.values():
        sketch.want(node, data_inputs(node))
        for index in data_outputs(node):
            result = partition_output(graph, node, backend, index)
            sketch.written[result.name] = None
            if _rule(backend, node).same_grid:
                source = node.inputs[0].name
                sketch.grids[result.name] = sketch.grids.get(source, source)


def _place_sums(graph: gs.Graph, backend: Backend, wishes: Wishes, sketch: _Sketch) -> None:
    """Sums that fuse into a layer: the branch that does not fuse."""
    for node in graph.nodes:
        if _rule(backend, node).reads is not Reads.SKIP or wishes.refusal(node):
            continue
        if any(is_constant(tensor) for tensor in node.inputs):
            continue
        if partition_output(graph, node, backend).name in sketch.wanted:
            sketch.want(node, _skip_branch(graph, node, sketch))


def _store(graph: gs.Graph, backend: Backend, wishes: Wishes, sketch: _Sketch) -> None:
    """Weights that become integers although their operator computes in float."""
    for node, index in stored_weights(graph, backend):
        if not wishes.refusal(node):
            sketch.weights[node.inputs[index].name, backend.weight.along(AXIS)].add((node.name, index))
            sketch.floats[node.name] = f"{node.op}: computes in float; its weights are stored as integers"
    inside = inside_bodies(graph, backend, wishes.refusal)
    sketch.floats |= inside.floats
    for weight in inside.weights:
        sketch.weights[weight.tensor, weight.scheme] |= weight.readers


def _skip_branch(graph: gs.Graph, node: gs.Node, sketch: _Sketch) -> list[int]:
    """The inputs of a residual sum that do not fuse: all but the one made last by an integer layer of its own."""
    order = {id(entry): i for i, entry in enumerate(graph.nodes)}
    makers = [producer(tensor) for tensor in node.inputs]
    fusing = [
        i
        for i, maker in enumerate(makers)
        if maker is not None
        and maker.op in HEAVY_OPS
        and maker.name not in sketch.floats
        and len(readers(node.inputs[i])) == 1
    ]
    if not fusing:
        return []
    last = max(fusing, key=lambda i: order.get(id(makers[i]), -1))
    return [i for i in range(len(node.inputs)) if i != last]


def _share_grids(graph: gs.Graph, backend: Backend, sketch: _Sketch) -> None:
    """One grid for what is integer before and behind a node that only moves values: that of a Concat's output, which
    holds all of its inputs, else that of the input."""
    for node in reversed(graph.nodes):
        if not _moves_along(node, backend) or node.outputs[0].name not in sketch.wanted:
            continue
        result = node.outputs[0].name
        sources = [node.inputs[i].name for i in data_inputs(node) if node.inputs[i].name in sketch.wanted]
        for tensor, leader in ((s, result) for s in sources) if node.op == "Concat" else ((result, s) for s in sources):
            sketch.grids.setdefault(tensor, sketch.grids.get(leader, leader))


def _moves_along(node: gs.Node, backend: Backend) -> bool:
    interpolates = node.op == "Resize" and node.attrs.get("mode", "nearest") != "nearest"
    return _rule(backend, node).reads is Reads.ALONG and not interpolates


def _rule(backend: Backend, node: gs.Node) -> Rule:
    """The rule of an operator that is not a linear layer; no rule is one that never applies."""
    return backend.rules.get(node.op, Rule(Reads.ALWAYS)) if node.op not in HEAVY_OPS else Rule(Reads.ALWAYS)


def _explain(graph: gs.Graph, backend: Backend, wishes: Wishes, sketch: _Sketch) -> None:
    """A reason for every node that computes in float."""
    integer = {name for edges in sketch.wanted.values() for name, _ in edges}
    becoming = sketch.written.keys() | sketch.wanted.keys()
    leading = before_a_layer(graph)
    for node in graph.nodes:
        absorbed = node.op in backend.absorbs and node.outputs[0].name in becoming
        if node.name in integer or node.name in sketch.floats or absorbed:
            continue
        if not any(t.dtype is not None and dtype_name(t) in FLOATS for t in node.outputs):
            continue
        sketch.floats[node.name] = wishes.refusal(node) or float_reason(graph, node, backend, leading)


def _finish(graph: gs.Graph, sketch: _Sketch, backend: Backend) -> Plan:
    tensors = graph.tensors()
    activations = {
        name: Activation(
            name,
            backend.activation,
            sketch.grids.get(name, name),
            frozenset(sketch.wanted.get(name, ())),
            name in sketch.written,
            function_behind(graph, tensors[name]),
        )
        for name in {**sketch.wanted, **sketch.written}
        if name in sketch.written or sketch.wanted.get(name)
    }
    weights = tuple(Weight(tensor, scheme, frozenset(edges)) for (tensor, scheme), edges in sketch.weights.items())
    return Plan(activations, weights, sketch.floats)
