"""What flows through the pipeline: the graph, its plan, what is known of its tensors, and the ledger."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import onnx
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.backends.backend import Backend
from onnxq.lean import Lean
from onnxq.ledger import Ledger
from onnxq.model import export
from onnxq.normal import Normal
from onnxq.plan import Plan, Weight
from onnxq.record import Record
from onnxq.samples import Samples
from onnxq.scheme import Integers, QParams, Range
from onnxq.solving.solved_layer import SolvedLayer
from onnxq.statistics import TensorStatistics
from onnxq.watching import Kept, Watcher

if TYPE_CHECKING:
    from distributed import Client

Progress = Callable[[str, int, int | None], None]
"""Told (stage, done, total) as long work goes on; ``total`` is None while it is not known."""


TOLERANCE = 1e-4  # of an output's range: what float32 arithmetic in another order may cost

Subject = tuple[str, str]
"""A single rewrite: the name of its pass, and of the node that it is about."""


def silent(stage: str, done: int, total: int | None) -> None:
    """A Progress that shows nothing."""


@dataclass(frozen=True)
class RoundedWeight:
    """The integers chosen for a weight, in the weight's shape, and their grid."""

    integers: Integers
    params: QParams


@dataclass
class Workspace:
    """The state passes work on. ``fork`` gives another backend its own copy of all that passes change."""

    graph: gs.Graph
    source: onnx.ModelProto
    samples: Samples
    backend: Backend
    batch: int | None = None
    cluster: "str | Client | None" = None  # whose workers watch tensors, or this process
    record: Record | None = None  # of what was measured before, and of what is
    plan: Plan = field(default_factory=Plan)
    statistics: dict[str, TensorStatistics] = field(default_factory=dict)
    ranges: dict[str, Range] | None = None  # from a file, by tensor, once it was read
    kept: dict[Watcher[Any], Any] = field(default_factory=dict)  # what watchers did, beside the statistics
    activations: dict[str, QParams] = field(default_factory=dict)
    weights: dict[Weight, RoundedWeight] = field(default_factory=dict)
    solved: dict[Weight, SolvedLayer] = field(default_factory=dict)  # how, for the report
    ledger: Ledger = field(default_factory=Ledger)
    progress: Progress = silent
    stand_in: onnx.ModelProto | None = None  # runs in place of the graph where onnxruntime lacks kernels for it
    normals: dict[str, Normal] = field(default_factory=dict)  # by tensor: what a folded batch norm told of it
    uncorrected: dict[str, Vector] = field(default_factory=dict)  # by node: its bias before it was corrected
    rewritten: dict[Subject, str] = field(default_factory=dict)  # what was done, with the node's operator
    barred: frozenset[Subject] = frozenset()  # what is not to be done
    beside: tuple[Backend, ...] = ()  # the other backends whose graphs are made from this one

    @property
    def backends(self) -> tuple[Backend, ...]:
        """All whose graphs are made from this one."""
        return (self.backend, *self.beside)

    def fork(self, backend: Backend) -> "Workspace":
        return replace(
            self,
            graph=self.graph.copy(),
            backend=backend,
            statistics=dict(self.statistics),
            kept=dict(self.kept),
            activations={},
            weights={},
            solved={},
            ledger=self.ledger.copy(),
            normals=dict(self.normals),
            uncorrected=dict(self.uncorrected),
            rewritten=dict(self.rewritten),
            beside=(),
        )

    def copy(self) -> "Workspace":
        """The same again, for the same backends."""
        fresh = self.fork(self.backend)
        fresh.activations, fresh.weights, fresh.beside = dict(self.activations), dict(self.weights), self.beside
        fresh.solved = dict(self.solved)
        return fresh

    def restore(self, earlier: "Workspace") -> None:
        """Be what ``earlier``, a fork, was when it was made; it is not used up."""
        fresh = earlier.fork(self.backend)
        self.graph, self.ledger, self.normals = fresh.graph, fresh.ledger, fresh.normals
        self.statistics, self.kept = fresh.statistics, fresh.kept
        self.rewritten, self.uncorrected = fresh.rewritten, fresh.uncorrected

    def seen(self, watcher: Watcher[Kept]) -> Kept:
        """What it kept."""
        found: Kept = self.kept[watcher]
        return found

    def forget(self) -> None:
        """Drop what was measured: a tensor may have kept its name and changed its values."""
        self.statistics, self.kept, self.ranges = {}, {}, None

    def model(self) -> onnx.ModelProto:
        """The graph as it stands, as a model."""
        return export(self.graph, self.source)

    def lean(self) -> Lean:
        """The same, to be run: its large weights are those of the graph."""
        return Lean.export(self.graph, self.source)


class Pass(Protocol):
    """One rewrite. It returns whether it changed anything; run twice, it changes nothing the second time."""

    name: ClassVar[str]

    def __call__(self, workspace: Workspace) -> bool: ...


@runtime_checkable
class FloatRewrite(Pass, Protocol):
    """A pass that keeps the function: no float output may move by more than ``tolerance`` of its range."""

    tolerance: ClassVar[float]


@runtime_checkable
class SampledRewrite(FloatRewrite, Protocol):
    """A rewrite that goes by samples: of others it makes another graph, and without any nothing."""

    sampled: ClassVar[bool]
