"""A model on an engine, built at the first batch and asked batch after batch, and what metrics keep of its answers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from onnxq import plugins
from onnxq.backends import BACKENDS, backend_of, require
from onnxq.backends.backend import Backend
from onnxq.backends.engine import Engine, Reading
from onnxq.build import fixed_shapes
from onnxq.errors import EngineError, RecipeError, unknown
from onnxq.execute import Session, real_samples
from onnxq.inputs import Array, InputSpec
from onnxq.metrics.metric import Counted, Known
from onnxq.samples import Batch

SIMULATION = "simulation"
"""The graph computed node by node, as it is written, by onnxruntime without its optimizations."""


def engine_names() -> tuple[str, ...]:
    """What a model can be evaluated on."""
    return (SIMULATION, *BACKENDS, *plugins.offered("backend"))


def backend_to_run(name: str) -> Backend | None:
    """The backend whose engine is to run, None for the simulation.

    Raises RecipeError for a name that is none, or that of a target without an engine, EngineMissing with the pip line.
    """
    if name == SIMULATION:
        return None
    try:
        backend = backend_of(name)
    except RecipeError as error:
        raise RecipeError(unknown("engine", name, engine_names())) from error
    if backend.simulated:
        raise RecipeError(f"{backend.title} is simulated: onnxq has no engine of it. Use --engine {SIMULATION}.")
    require(backend)
    return backend


@dataclass
class Running:
    """A model on one engine. ``problem`` says why it is not asked any more."""

    model: onnx.ModelProto
    backend: Backend | None
    inputs: Sequence[InputSpec]
    reading: Reading | None = None
    seconds: float = 0.0
    samples: int = 0
    problem: str | None = None
    parts: dict[int, list[Any]] = field(default_factory=dict)
    _engine: Engine | Session | None = None

    def ask(self, batch: Batch) -> dict[str, Array] | None:
        """The outputs by name, without rows that only fill a batch; None after a problem."""
        if self.problem is not None:
            return None
        try:
            engine = self._built(batch.feeds)
            start = time.perf_counter()
            made = engine.run(batch.feeds)
        except EngineError as error:
            self.problem = str(error)
            return None
        self.seconds += time.perf_counter() - start
        self.samples += batch.count
        return {name: real_samples(array, batch) for name, array in made.items()}

    def keep(self, metrics: Sequence[Counted[Any]], outputs: Mapping[str, Array], known: Known) -> None:
        """Remember what the metrics need of a batch; without a reference only those that need none."""
        for index, metric in enumerate(metrics):
            if known.reference is not None or not metric.compares:
                self.parts.setdefault(index, []).append(metric.part(outputs, known))

    def forget(self, metrics: Sequence[Counted[Any]]) -> None:
        """Drop what was compared with a reference that came to no end."""
        self.parts = {index: parts for index, parts in self.parts.items() if not metrics[index].compares}

    def totals(self, metrics: Sequence[Counted[Any]]) -> list[float | None]:
        """Every metric over all samples; None where it was not kept, or not to the end."""
        if self.problem is not None:
            return [None] * len(metrics)
        return [metric.total(self.parts[i]) if i in self.parts else None for i, metric in enumerate(metrics)]

    def _built(self, feeds: Mapping[str, Array]) -> Engine | Session:
        if self._engine is None and self.backend is None:
            self._engine = Session(self.model, optimize=False)
        elif self._engine is None and self.backend is not None:
            engine = self.backend.engine(self.model, fixed_shapes(self.backend, feeds, self.inputs))
            self.reading = engine.read_back()
            self._engine = engine
        assert self._engine is not None
        return self._engine
