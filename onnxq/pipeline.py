"""quantize(): the whole story on one page.

model ─▶ prepare ─▶ plan ─▶ calibrate ─▶ refine ─▶ emit ─▶ build ─▶ judge ─▶ report
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from onnxq.backends import backend_of, require
from onnxq.backends.engine import Engine
from onnxq.build import build
from onnxq.errors import DataError, EngineError, RecipeError
from onnxq.execute import Session
from onnxq.judge import SAMPLES, Answers, answers, compare, score
from onnxq.metrics import Metric, metric_of
from onnxq.model import ModelLike, load_model, to_graph
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.passes import Calibrate, InsertQdq, RoundWeights
from onnxq.passes.calibrate import collect
from onnxq.proof import Proof, rewrite
from onnxq.recipe import Recipe, load_recipe
from onnxq.result import BackendResult, Judged, Result, Scores
from onnxq.samples import Data, Samples, input_specs, open_samples
from onnxq.workspace import FloatRewrite, Pass, Progress, Workspace, silent


def quantize(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: str | Sequence[str] | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    test: Data | None = None,
    metric: Metric | None = None,
    progress: Progress = silent,
) -> Result:
    """Quantize ``model`` for one backend or several, with one calibration, and judge what came of it.

    ``samples`` calibrate; ``test`` (by default the same) judge, with ``metric`` where they carry labels. ``backend``
    is ``onnxruntime`` unless it or the recipe says otherwise. A card brings all of these, and what is given replaces
    its own. Raises OnnxqError for whatever the user can mend.
    """
    said = model.name if isinstance(model, Card) else str(model) if isinstance(model, str | Path) else "model"
    if isinstance(model, Card):
        samples, recipe, options = _from_card(model, samples, recipe, options)
        test, metric = model.test_path if test is None else test, metric or metric_of(model)
        model = model.model_path
    if samples is None:
        raise DataError("no calibration data. Give --data FILE (samples=), or a model card; `random` is a smoke test.")
    clock = Clock()
    with clock("prepare"):
        written = options.applied(load_recipe(recipe or "default"))
        names = [backend] if isinstance(backend, str) else list(backend or written.backends or ["onnxruntime"])
        backends = [backend_of(name) for name in dict.fromkeys(names)]
        if options.build:
            for entry in backends:
                require(entry)
        source = load_model(model)
        inputs = input_specs(source)
        data = open_samples(
            samples, inputs, preprocessing=options.preprocessing, limit=options.samples, seed=options.seed
        )
        base = Workspace(to_graph(source), source, data, backends[0], options.batch, progress=progress)
        shared, own = _split(written.passes)
        _prepare(base, shared)
    with clock("calibrate"):
        spaces = [base.fork(entry) for entry in backends]
        _calibrate_once(spaces, own)
    found = {space.backend.name: _finish(space, own) for space in spaces}
    if options.build:
        tests = data if test is None else open_samples(test, inputs, preprocessing=options.preprocessing)
        judge = Judge(source, tests, metric, progress, clock)
        found = {name: judge(space, found[name]) for name, space in zip(found, spaces, strict=True)}
    smoke_test = isinstance(samples, str) and samples == "random"  # an array compares by element
    return Result(said, data.description, written.written(), found, dict(clock.seconds), smoke_test)


def _from_card(
    card: Card, samples: Data | None, recipe: str | Path | Mapping[str, object] | Recipe | None, options: Options
) -> tuple[Data, str | Path | Mapping[str, object] | Recipe, Options]:
    """What was given, and the card's own where nothing was."""
    preprocessing = options.preprocessing or card.preprocessing
    found = card.calibration_path if samples is None else samples
    return found, recipe or card.recipe_path or card.recipe, options.on(preprocessing=preprocessing)


def _split(passes: tuple[Pass, ...]) -> tuple[list[Pass], list[Pass]]:
    """Float rewrites at the start serve every backend; what follows is done for each."""
    first = next((i for i, step in enumerate(passes) if not isinstance(step, FloatRewrite)), len(passes))
    return list(passes[:first]), list(passes[first:])


def _prepare(base: Workspace, steps: Sequence[Pass]) -> None:
    proof = Proof(base.source, base.samples)
    for done, step in enumerate(steps):
        base.progress("prepare", done, len(steps))
        run(base, step, proof)
    base.progress("prepare", len(steps), len(steps))


def run(space: Workspace, step: Pass, proof: Proof | None = None) -> bool:
    """One pass; a float rewrite must prove that it kept the function."""
    _check_order(space, step)
    if isinstance(step, FloatRewrite):
        return rewrite(space, step, proof or Proof(space.model(), space.samples))
    return step(space)


def _check_order(space: Workspace, step: Pass) -> None:
    """Raises RecipeError for a pass that comes before those it needs; who made the plan does not matter."""
    planned = space.plan.activations.keys()
    if isinstance(step, Calibrate | RoundWeights | InsertQdq) and not space.plan.weights:
        raise RecipeError(f"recipe: nothing is planned when {step.name!r} runs. Put 'plan' before it.")
    if isinstance(step, InsertQdq) and (bare := sorted(planned - space.activations.keys())):
        raise RecipeError(f"recipe: {bare[0]!r} has no grid when {step.name!r} runs. Put 'calibrate' before it.")


def _calibrate_once(spaces: Sequence[Workspace], steps: list[Pass]) -> None:
    """Run every backend up to its calibration, then watch for all of them in one pass over the samples."""
    at = next((i for i, step in enumerate(steps) if isinstance(step, Calibrate)), None)
    if at is None:
        return
    for space in spaces:
        for step in steps[:at]:
            run(space, step)
        _check_order(space, steps[at])
    calibrate = steps[at]
    assert isinstance(calibrate, Calibrate)
    watched = {tensor for space in spaces for tensor in space.plan.watched}
    collect(spaces[0], watched, calibrate.calibrator().histogram)
    for space in spaces:
        space.statistics = spaces[0].statistics
    del steps[:at]


def _finish(space: Workspace, steps: Sequence[Pass]) -> BackendResult:
    for step in (*steps, *space.backend.lowering):
        run(space, step)
    for name, reason in space.plan.floats.items():
        node = next((node for node in space.graph.nodes if node.name == name), None)
        space.ledger.add("float", "plan", name, reason, node.op if node is not None else "")
    model = space.model()
    if all(node.op_type != "DequantizeLinear" for node in model.graph.node):
        raise RecipeError("recipe: it leaves the graph without integers. End it with 'insert_qdq'.")
    return BackendResult(
        space.backend.name,
        space.backend.title,
        model,
        space.plan,
        space.ledger,
        space.activations,
        space.weights,
        space.source.ByteSize(),
        model.ByteSize(),
    )


class Judge:
    """Builds and judges one backend after another; the FP32 model answers once for all of them."""

    def __init__(
        self,
        source: onnx.ModelProto,
        tests: Samples,
        metric: Metric | None,
        progress: Progress,
        clock: "Clock",
    ) -> None:
        self.source, self.tests, self.metric, self.progress, self.clock = (
            source,
            tests,
            metric,
            progress,
            clock,
        )
        self.limit = None if metric is not None else SAMPLES
        self.feeds = next(iter(tests.batches(1))).feeds
        with clock("judge"):
            self.reference = self._answers(Session(source), "judge FP32", 32)

    def __call__(self, space: Workspace, result: BackendResult) -> BackendResult:
        engine: Engine | None = None
        built, problem = None, None
        self.progress(f"build {space.backend.title}", 0, 1)
        with self.clock("build"):
            try:
                engine, built = build(space.backend, self.source, result.model, self.feeds, self.tests.inputs)
            except EngineError as error:
                problem = str(error)
        self.progress(f"build {space.backend.title}", 1, 1)
        with self.clock("judge"):
            graph = self._answers(Session(result.model, optimize=False), f"judge {space.backend.title} graph", 32)
            real = None
            if engine is not None and built is not None and built.reading.executed:
                try:
                    real = self._answers(engine, f"judge {space.backend.title} engine", 1)
                except EngineError as error:
                    problem = str(error)
            judged = self._judged(graph, real)
        return BackendResult(**{**vars(result), "built": built, "judged": judged, "problem": problem})

    def _answers(self, model: Session | Engine, stage: str, batch: int) -> Answers:
        total = self.tests.count if self.limit is None else min(self.limit, self.tests.count or self.limit)
        return answers(model.run, self.tests, batch, lambda done: self.progress(stage, done, total), self.limit)

    def _judged(self, graph: Answers, engine: Answers | None) -> Judged:
        scores = None
        if self.metric is not None and (fp32 := score(self.metric, self.reference)) is not None:
            found = [score(self.metric, side) if side is not None else None for side in (graph, engine)]
            assert found[0] is not None
            scores = Scores(self.metric.name, self.metric.unit, graph.count, fp32, found[0], found[1])
        engine_likeness = compare(self.reference, engine) if engine is not None else ()
        return Judged(graph.count, compare(self.reference, graph), engine_likeness, scores)


class Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start
