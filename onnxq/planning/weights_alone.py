"""The plan where no activation becomes integer: weights are stored as integers, and every layer computes in float.

A model gets smaller by it, and its largest products faster where reading the weights is most of their work.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, layout
from onnxq.plan import Edge, Plan, Weight
from onnxq.planning.bodies import inside_bodies
from onnxq.planning.eligibility import dtype_name, is_float32
from onnxq.planning.stored_weights import AXIS, SMALLEST, stored_weights
from onnxq.scheme import Scheme
from onnxq.weight_forms import float_grid

ASKED = "computes in float on request; its weights are stored as integers"


def weights_alone(graph: gs.Graph, backend: Backend, refusal: Callable[[gs.Node], str | None]) -> Plan:
    """``refusal`` says why a node is to be left alone, if it is."""
    found: dict[tuple[str, Scheme], set[Edge]] = defaultdict(set)
    floats = {}
    for node in graph.nodes:
        if node.op not in HEAVY_OPS:
            continue
        try:
            index = _weight(node, refusal(node))
        except Declined as reason:
            floats[node.name] = str(reason)
            continue
        found[node.inputs[index].name, float_grid(node, backend)].add((node.name, index))
        floats[node.name] = f"{node.op}: {ASKED}"
    for node, index in stored_weights(graph, backend):
        if not refusal(node):
            found[node.inputs[index].name, backend.weight.along(AXIS)].add((node.name, index))
            floats[node.name] = f"{node.op}: {ASKED}"
    inside = inside_bodies(graph, backend, refusal)
    weights = tuple(Weight(tensor, scheme, frozenset(edges)) for (tensor, scheme), edges in found.items())
    return Plan({}, (*weights, *inside.weights), {**floats, **inside.floats})


def _weight(node: gs.Node, refused: str | None) -> int:
    """The index of the weight of a linear layer. Raises Declined where it stays as it is."""
    where = layout(node)
    if refused:
        raise Declined(refused)
    if where is None:
        raise Declined("it has no constant weight")
    weight = node.inputs[where.index]
    if not is_float32(weight):
        raise Declined(f"its weight is {dtype_name(weight)}, not float32")
    values = np.asarray(weight.values)
    if values.size < SMALLEST:
        raise Declined(f"its weights are fewer than {SMALLEST:,}, so that storing them as integers saves nothing")
    if not np.isfinite(values).all():
        raise Declined("its weight holds NaN or infinity")
    return where.index
