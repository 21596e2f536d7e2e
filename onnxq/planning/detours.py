"""Around what an engine computes wrongly: the same plan, with grids on which its answers are right.

Engines say nothing of such faults, so each was found by comparing an engine's answers with those of the Q/DQ graph;
``tests/backends/patterns`` does so again. A backend's table says which of them concern it.
"""

from collections.abc import Collection
from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.graph import VIEWS, is_constant, producer, readers
from onnxq.plan import Activation, Plan

FUSED = frozenset({"LeakyRelu", "Neg", "Relu"})


def detour(graph: gs.Graph, backend: Backend, plan: Plan) -> Plan:
    """The plan with every detour that the backend needs."""
    tensors = graph.tensors()
    for name in list(plan.activations):
        if name in plan.activations:
            plan = _before_a_maximum(tensors[name], backend, plan)
    joined = {
        name: replace(entry, schemes=backend.concat)
        for name, entry in plan.activations.items()
        if backend.concat is not None and _joined_for_a_conv(tensors[name], entry)
    }
    return replace(plan, activations={**plan.activations, **joined})


def _joined_for_a_conv(tensor: gs.Tensor, entry: Activation) -> bool:
    """Whether a Conv reads the integers of what is, but for views and sums with a constant, a Concat."""
    maker = _source(tensor, VIEWS | FUSED)
    convs = {(node.name, index) for node, index in readers(tensor) if node.op == "Conv"}
    return maker is not None and maker.op == "Concat" and bool(convs if entry.everyone else convs & entry.wanted)


def _before_a_maximum(tensor: gs.Tensor, backend: Backend, plan: Plan) -> Plan:
    """The greatest of some integers is one of them: what an operator of ``quantized_before`` reads is quantized on
    the grid of what it makes. Where more than a view lies between the two, nothing is quantized."""
    maker = _source(tensor, VIEWS)
    if maker is not None and maker.op in backend.quantized_before:
        source, entry = maker.inputs[0].name, plan.activations[tensor.name]
        found = plan.activations.get(source, Activation(source, entry.schemes, source, frozenset()))
        found = replace(found, wanted=found.wanted | {(maker.name, 0)})
        same = replace(entry, schemes=found.schemes, grid=found.grid, through=found.through)
        return replace(
            plan,
            activations={**plan.activations, source: found, tensor.name: same},
            floats={name: reason for name, reason in plan.floats.items() if name != maker.name},
        )
    maker = _source(tensor, VIEWS | FUSED)
    if maker is None or maker.op not in backend.quantized_before:
        return plan
    grid = plan.activations[tensor.name].grid
    return plan.without(
        {grid: f"its input comes from a {maker.op}, behind which {backend.title} computes wrong integers"}
    )


def _source(tensor: gs.Tensor, through: Collection[str]) -> gs.Node | None:
    """The node behind the operators of ``through``; with activations among them, behind sums with a constant too."""
    while (maker := producer(tensor)) is not None:
        if maker.op in through:
            tensor = maker.inputs[0]
        elif set(through) >= FUSED and maker.op in ("Add", "Sub") and sum(map(is_constant, maker.inputs)) == 1:
            tensor = next(entry for entry in maker.inputs if not is_constant(entry))
        else:
            return maker
    return None
