"""What is known while a graph is lifted: grids by tensor, integers by what they stand for, and what was noted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnxq.graph import Names, is_output, readers
from onnxq.ledger import Entry, Kind
from onnxq.lifting.float_constants import FloatConstants
from onnxq.lifting.stored import Grid, Stored

RUN_TIME = "its scale is computed at run time, so it has no grid to keep"


@dataclass(frozen=True)
class Record:
    """That ``readers``, and the caller where it is an ``output``, saw ``tensor`` on ``grid``."""

    tensor: gs.Tensor
    grid: Grid
    readers: tuple[tuple[gs.Node, int], ...]
    output: bool = False


@dataclass(frozen=True)
class Integers:
    """A tensor of integers that stands for ``real``, a tensor or a constant kept as integers.

    ``grid`` is None where it is computed at run time, from ``scale``.
    """

    tensor: gs.Tensor
    real: gs.Tensor | Stored
    grid: Grid | None
    scale: gs.Tensor
    home: gs.Graph
    name: str


@dataclass
class Lifting:
    """The state of one lift. Tensors are known by identity, since names change."""

    graph: gs.Graph
    names: Names
    opset: int
    records: list[Record] = field(default_factory=list)
    notes: list[Entry] = field(default_factory=list)
    integers: dict[int, Integers] = field(default_factory=dict)
    constants: FloatConstants = field(init=False)

    def __post_init__(self) -> None:
        self.constants = FloatConstants(self.names)

    @classmethod
    def of(cls, graph: gs.Graph, opset: int) -> "Lifting":
        return cls(graph, Names(graph), opset)

    def note(self, kind: Kind, subject: str, reason: str, op: str = "") -> None:
        self.notes.append(Entry(kind, "lift", subject, reason, op))

    def settle(self, graph: gs.Graph, node: gs.Node, real: gs.Tensor, grid: Grid | None = None) -> Sequence[gs.Node]:
        """Let whatever reads the node's result read ``real``; a graph output keeps its name."""
        result = node.outputs[0]
        edges = readers(result)
        output = is_output(graph, result)
        detach(node)
        for reader, index in edges:
            reader.inputs[index] = real
        if grid is not None:
            self.records.append(Record(real, grid, tuple(edges), output and graph is self.graph))
        if not output:
            return []
        if graph is not self.graph or not real.inputs or is_output(graph, real):
            name = self.names.fresh(f"{result.name}/Identity")
            return [gs.Node("Identity", name, {}, [real], [result])]
        graph.outputs = [real if entry is result else entry for entry in graph.outputs]
        real.name, result.name = result.name, self.names.fresh(f"{result.name}/old")
        real.dtype = result.dtype if real.dtype is None else real.dtype
        return []


def detach(node: gs.Node) -> None:
    """Take a node out of the graph's edges."""
    node.inputs.clear()
    node.outputs.clear()


def rank(tensor: gs.Tensor) -> int | None:
    return None if tensor.shape is None else len(tensor.shape)
