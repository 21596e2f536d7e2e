"""Is it still right, and is it faster? The FP32 model, the Q/DQ graph and the engine answer the same questions."""

from dataclasses import dataclass, field, replace

import onnx

from onnxq.answers import SAMPLES, Answers, answers, compare, score
from onnxq.backends.backend import Backend
from onnxq.backends.engine import Engine
from onnxq.build import Built, build
from onnxq.clock import Clock
from onnxq.errors import EngineError
from onnxq.execute import Session
from onnxq.metrics import Metric
from onnxq.result import BackendResult, Judged, Scores
from onnxq.samples import Samples
from onnxq.workspace import Progress

BATCH = 32  # of onnxruntime; engines answer one sample at a time, as they are built


@dataclass
class Judge:
    """Builds and judges one backend after another; the FP32 model answers once for all of them, and so does the
    quantized one that was ``given``, if any.

    Without a metric the first 64 samples are enough; a metric takes them all.
    """

    source: onnx.ModelProto
    tests: Samples
    metric: Metric | None
    progress: Progress
    clock: Clock
    given: onnx.ModelProto | None = None
    reference: Answers = field(init=False)
    before: Answers | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        with self.clock("judge"):
            self.reference = self._answers(Session(self.source), "judge FP32", BATCH)
            if self.given is not None:
                self.before = self._answers(Session(self.given, optimize=False), "judge the model given", BATCH)

    def __call__(self, backend: Backend, result: BackendResult) -> BackendResult:
        """The result with what its engine did and how good its answers are, or with the engine's refusal."""
        engine, built, problem = None, None, None
        if not backend.simulated:
            with self.clock("build"):
                engine, built, problem = self._build(backend, result.model)
        with self.clock("judge"):
            real = None
            if engine is not None and built is not None and built.reading.executed:
                try:
                    real = self._answers(engine, f"judge {backend.title} engine", 1)
                except EngineError as error:
                    problem = str(error)
            graph = self._answers(_simulation(result), f"judge {backend.title} graph", BATCH)
            return replace(result, built=built, judged=self._judged(graph, real), problem=problem)

    def simulated(self, result: BackendResult) -> Judged:
        """How good the answers of the graph alone are, without an engine."""
        return self._judged(self._answers(_simulation(result), f"judge {result.title} graph", BATCH), None)

    def _build(self, backend: Backend, model: onnx.ModelProto) -> tuple[Engine | None, Built | None, str | None]:
        stage = f"build {backend.title}"
        self.progress(stage, 0, 1)
        try:
            feeds = next(iter(self.tests.batches(1))).feeds
            engine, built = build(backend, self.source, model, feeds, self.tests.inputs)
        except EngineError as error:
            return None, None, str(error)
        self.progress(stage, 1, 1)
        return engine, built, None

    def _answers(self, model: Session | Engine, stage: str, batch: int) -> Answers:
        limit = None if self.metric is not None else SAMPLES
        total = self.tests.count if limit is None else min(limit, self.tests.count or limit)
        return answers(model.run, self.tests, batch, lambda done: self.progress(stage, done, total), limit)

    def _judged(self, graph: Answers, engine: Answers | None) -> Judged:
        likeness = compare(self.reference, engine) if engine is not None else ()
        given_graph = compare(self.before, graph) if self.before is not None else ()
        given_engine = compare(self.before, engine) if self.before is not None and engine is not None else ()
        scores = self._scores(graph, engine)
        return Judged(graph.count, compare(self.reference, graph), likeness, scores, given_graph, given_engine)

    def _scores(self, graph: Answers, engine: Answers | None) -> Scores | None:
        if self.metric is None:
            return None
        fp32, quantized = score(self.metric, self.reference), score(self.metric, graph)
        if fp32 is None or quantized is None:
            return None
        real = score(self.metric, engine) if engine is not None else None
        return Scores(self.metric.name, self.metric.unit, graph.count, fp32, quantized, real)


def _simulation(result: BackendResult) -> Session:
    """The graph in onnxruntime, computed node by node as it is written."""
    return Session(result.runs, optimize=False)
