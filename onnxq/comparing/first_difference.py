"""The first layer at which an engine computes something else than its graph says.

Nothing is marked as an output of the whole graph, which would change what the engine fuses. The network up to a tensor
is cut out, built by itself and compared with the same piece computed node by node; halving the graph again and again
finds the first tensor at which the two part, in as many builds as the graph has bits of length.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.build import fixed_shapes
from onnxq.checking.parity import UNLIKE
from onnxq.errors import EngineError
from onnxq.execute import Session
from onnxq.inputs import Array, input_specs
from onnxq.model import export, to_graph
from onnxq.sqnr import sqnr_db

GRIDS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Difference:
    """The ``node`` that makes the ``tensor``, its operator, and the dB there and at the tensor looked at before it."""

    node: str
    operator: str
    tensor: str
    sqnr_db: float
    before_db: float | None


def first_difference(model: onnx.ModelProto, backend: Backend, feeds: Mapping[str, Array]) -> Difference | None:
    """None where the engine says what its graph says at the outputs. Raises EngineError where it cannot be built."""
    graph = to_graph(model)
    nodes = [node for node in graph.nodes if node.op not in GRIDS and node.outputs]

    def apart(at: int) -> float:
        piece = _up_to(graph, nodes[at].outputs[0].name)
        proto = export(piece, model)
        fed = {entry.name: feeds[entry.name] for entry in piece.inputs}
        said = Session(proto, optimize=False).run(fed)
        try:
            made = backend.engine(proto, fixed_shapes(backend, fed, input_specs(proto))).run(fed)
        except EngineError:
            return float("inf")  # a piece that is refused tells nothing; the whole was built
        return min(sqnr_db(said[name], made[name]) for name in said)

    last = max(at for at, node in enumerate(nodes) if any(out in graph.outputs for out in node.outputs))
    there = apart(last)
    return None if there >= UNLIKE else _halved(nodes, {last: there}, apart)


def _halved(nodes: list[gs.Node], known: dict[int, float], apart: Callable[[int], float]) -> Difference:
    """Between what is alike, before the first node, and the one that is ``known`` not to be."""
    alike, (unlike,) = -1, known
    while unlike - alike > 1:
        middle = (alike + unlike) // 2
        known[middle] = apart(middle)
        alike, unlike = (middle, unlike) if known[middle] >= UNLIKE else (alike, middle)
    node = nodes[unlike]
    return Difference(node.name, node.op, node.outputs[0].name, known[unlike], known.get(alike))


def _up_to(graph: gs.Graph, tensor: str) -> gs.Graph:
    """A copy that computes that tensor and nothing else."""
    piece = graph.copy()
    piece.outputs = [piece.tensors()[tensor]]
    piece.cleanup(remove_unused_graph_inputs=True)
    return piece
