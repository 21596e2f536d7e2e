"""The first layer at which an engine computes something else than its graph says.

Nothing is marked as an output of the whole graph, which would change what the engine fuses. The network up to a tensor
is cut out, built by itself and compared with the same piece computed node by node; halving the graph again and again
finds a layer at which the two part, in about as many builds as the graph has bits of length.

Rounding parts them too, a little at every layer; a layer that is computed wrongly makes a step. So a layer is looked
for that crosses 29 dB, and reads nothing that did; where the step is small it was rounding, and lower limits are tried.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.build import fixed_shapes
from onnxq.checking.parity import ALIKE, UNLIKE
from onnxq.errors import EngineError
from onnxq.execute import Session
from onnxq.inputs import Array, input_specs
from onnxq.model import export, to_graph
from onnxq.sqnr import sqnr_db

GRIDS = ("QuantizeLinear", "DequantizeLinear")
LIMITS = (ALIKE, 24.0, 19.0, UNLIKE)
STEP = 12.0  # dB that one layer loses; rounding was seen to lose 11 in the sigmoids of a detector's head


@dataclass(frozen=True)
class Difference:
    """The ``node`` that makes the ``tensor``, its operator, and the dB there and at the worst of what it reads, None
    where that are inputs of the model."""

    node: str
    operator: str
    tensor: str
    sqnr_db: float
    before_db: float | None


def first_difference(model: onnx.ModelProto, backend: Backend, feeds: Mapping[str, Array]) -> Difference | None:
    """None where the engine says what its graph says at the outputs, or differs by what rounding adds up to. Raises
    EngineError where it cannot be built."""
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

    walk = _Search(nodes, apart)
    last = max(at for at, node in enumerate(nodes) if any(out in graph.outputs for out in node.outputs))
    for limit in LIMITS:
        if walk.db(last) >= limit:
            return None
        found = walk.crossing(last, limit)
        before = min((walk.db(at) for at in walk.read_by(found)), default=None)
        step = (float("inf") if before is None else before) - walk.db(found)
        if step >= STEP or limit == UNLIKE:
            node = nodes[found]
            return Difference(node.name, node.op, node.outputs[0].name, walk.db(found), before)
    return None


@dataclass
class _Search:
    """Over ``nodes`` in graph order, by their number; ``apart``: dB between engine and graph at what a node makes."""

    nodes: list[gs.Node]
    apart: Callable[[int], float]
    known: dict[int, float] = field(default_factory=dict)

    def db(self, at: int) -> float:
        if at not in self.known:
            self.known[at] = self.apart(at)
        return self.known[at]

    def crossing(self, unlike: int, limit: float) -> int:
        """A node below the limit that reads nothing below it, at ``unlike`` or before."""
        while True:
            alike = -1
            while unlike - alike > 1:
                middle = (alike + unlike) // 2
                alike, unlike = (middle, unlike) if self.db(middle) >= limit else (alike, middle)
            far = [at for at in self.read_by(unlike) if self.db(at) < limit]  # on another branch
            if not far:
                return unlike
            unlike = min(far)

    def read_by(self, at: int) -> list[int]:
        """The nodes whose values it reads, through Q and DQ."""
        numbers = {id(node): number for number, node in enumerate(self.nodes)}
        pending, found = [self.nodes[at]], set[int]()
        while pending:
            for tensor in pending.pop().inputs:
                for node in tensor.inputs:
                    if node.op in GRIDS:
                        pending.append(node)
                    else:
                        found.add(numbers[id(node)])
        return sorted(found)


def _up_to(graph: gs.Graph, tensor: str) -> gs.Graph:
    """A copy that computes that tensor and nothing else."""
    piece = graph.copy()
    piece.outputs = [piece.tensors()[tensor]]
    piece.cleanup(remove_unused_graph_inputs=True)
    return piece
