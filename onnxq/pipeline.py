"""quantize(): the whole story on one page.

model ─▶ prepare ─▶ plan ─▶ calibrate ─▶ refine ─▶ emit ─▶ build ─▶ judge ─▶ report
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnxq.backends import backend_of, require
from onnxq.backends.backend import Backend
from onnxq.backends.saturation import reduced
from onnxq.clock import Clock
from onnxq.delivery import deliver
from onnxq.errors import DataError, RecipeError
from onnxq.graph import every_node
from onnxq.judge import Judge
from onnxq.metrics import Metric, metric_of
from onnxq.model import ModelLike, load_model, to_graph
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.passes import Calibrate, CastFloat, InsertQdq, RoundWeights
from onnxq.passes.calibrate import collect
from onnxq.proof import Proof, rewrite, rewrite_all
from onnxq.recipe import Recipe, load_recipe
from onnxq.result import BackendResult, Result
from onnxq.samples import Data, input_specs, open_samples
from onnxq.statistics import TensorStatistics
from onnxq.workspace import FloatRewrite, Pass, Progress, Workspace, silent


def quantize(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: str | Backend | Sequence[str | Backend] | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    test: Data | None = None,
    metric: Metric | None = None,
    progress: Progress = silent,
) -> Result:
    """Quantize ``model`` for one backend or several, with one calibration, and judge what came of it.

    ``samples`` calibrate; ``test`` (by default the same) judge, with ``metric`` where they carry labels. ``backend``
    is ``onnxruntime`` unless it or the recipe says otherwise, and may be a ``Backend`` of your own. A card brings all
    of these, and what is given replaces its own. Raises OnnxqError for whatever the user can mend.
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
        asked = backends_of(backend or written.backends or "onnxruntime")
        backends = [reduced(entry, options.reduce_range) for entry in asked]
        refuse_floats(written, backends)
        if options.build:
            for entry in backends:
                require(entry)
        source = load_model(model)
        inputs = input_specs(source)
        data = open_samples(
            samples, inputs, preprocessing=options.preprocessing, limit=options.samples, seed=options.seed
        )
        base = Workspace(
            to_graph(source), source, data, backends[0], options.batch, progress=progress, beside=tuple(backends[1:])
        )
        shared, own = _split(written.passes)
        _tell_frozen_inputs(base)
        rewrite_all(base, shared, Proof(source, data))
    with clock("calibrate"):
        spaces = [base.fork(entry) for entry in backends]
        _tell_reduced_range(spaces, asked)
        _calibrate_once(spaces, own)
    found = {space.backend.name: finish(space, own) for space in spaces}
    if options.build:
        tests = data if test is None else open_samples(test, inputs, preprocessing=options.preprocessing)
        judge = Judge(source, tests, metric, progress, clock)
        found = {space.backend.name: judge(space.backend, found[space.backend.name]) for space in spaces}
    smoke_test = isinstance(samples, str) and samples == "random"  # an array compares by element
    return Result(said, data.description, written.written(), found, dict(clock.seconds), smoke_test)


def backends_of(wanted: str | Backend | Sequence[str | Backend]) -> list[Backend]:
    """Each once. Raises RecipeError for a name that is none, or that two of them have."""
    found: dict[str, Backend] = {}
    for entry in [wanted] if isinstance(wanted, str | Backend) else wanted:
        backend = backend_of(entry) if isinstance(entry, str) else entry
        if found.setdefault(backend.name, backend) is not backend:
            raise RecipeError(f"two backends are named {backend.name!r}, and results go by name. Rename one.")
    return list(found.values())


def refuse_floats(recipe: Recipe, backends: Sequence[Backend]) -> None:
    """Raises RecipeError where 16-bit floats are asked for, and no backend takes them; one of several may not."""
    for step in recipe.passes:
        if isinstance(step, CastFloat) and not any(step.to in backend.floats for backend in backends):
            raise RecipeError(f"float: no {step.to.upper()} (--float): {backends[0].fp32_reason}. Leave it out.")


def _from_card(
    card: Card, samples: Data | None, recipe: str | Path | Mapping[str, object] | Recipe | None, options: Options
) -> tuple[Data, str | Path | Mapping[str, object] | Recipe, Options]:
    """What was given, and the card's own where nothing was."""
    preprocessing = options.preprocessing or card.preprocessing
    found = card.calibration_path if samples is None else samples
    return found, recipe or card.recipe_path or card.recipe, replace(options, preprocessing=preprocessing)


def _split(passes: tuple[Pass, ...]) -> tuple[list[FloatRewrite], list[Pass]]:
    """Float rewrites at the start serve every backend; what follows is done for each."""
    shared: list[FloatRewrite] = []
    for step in passes:
        if not isinstance(step, FloatRewrite):
            break
        shared.append(step)
    return shared, list(passes[len(shared) :])


def _tell_frozen_inputs(base: Workspace) -> None:
    """Weights that a caller could replace, as old exporters write them, are constants from now on."""
    held = {tensor.name for tensor in base.source.graph.initializer}
    frozen = [value.name for value in base.source.graph.input if value.name in held]
    if frozen:
        reason = f"{len(frozen)} weights are no longer inputs of the model that a caller could replace"
        base.ledger.add("changed", "prepare", frozen[0], reason)


def _tell_reduced_range(spaces: Sequence[Workspace], asked: Sequence[Backend]) -> None:
    for space, entry in zip(spaces, asked, strict=True):
        if space.backend is not entry:
            reason = f"weights have {space.backend.weight.bits} bits, since sums of u8 x s8 may saturate (reduce range)"
            space.ledger.add("changed", "plan", "graph", reason)


def run(space: Workspace, step: Pass) -> bool:
    """One pass; a float rewrite must prove that it kept the function."""
    _check_order(space, step)
    if isinstance(step, FloatRewrite):
        return rewrite(space, step)
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
        for step in (*space.backend.preparation, *steps[:at]):
            run(space, step)
        _check_order(space, steps[at])
    calibrate = steps[at]
    assert isinstance(calibrate, Calibrate)
    watched = {tensor for space in spaces for tensor in space.plan.watched}
    known: dict[str, TensorStatistics] = {}
    # The graph with most tensors, prepared for its backend, mostly has those of all the others.
    for space in sorted(spaces, key=lambda space: -len(space.graph.nodes)):
        space.statistics = known
        collect(space, watched & space.graph.tensors().keys(), calibrate.calibrator().histogram)
    del steps[:at]


def finish(space: Workspace, steps: Sequence[Pass]) -> BackendResult:
    """The remaining passes, the backend's lowering, and what came of it."""
    side_file, delivery = space.backend.side_file, None
    for step in steps:
        if side_file is not None and isinstance(step, InsertQdq) and delivery is None:
            _check_order(space, step)
            delivery = deliver(space, space.graph.copy(), side_file)
        run(space, step)
    if all(node.op != "DequantizeLinear" for node in space.graph.nodes):
        raise RecipeError("recipe: it leaves the graph without integers. End it with 'insert_qdq'.")
    for step in space.backend.lowering:
        run(space, step)
    ops = {node.name: node.op for node in every_node(space.graph)}
    if not space.plan.activations:
        reason = "weights only: they are stored as integers, and every layer computes in float. Smaller, not faster"
        space.ledger.add("warning", "plan", "graph", reason)
    for name, reason in space.plan.floats.items():
        space.ledger.add("float", "plan", name, reason, ops.get(name, ""))
    model = space.model()
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
        simulated=space.backend.simulated,
        delivery=delivery,
        stand_in=space.stand_in,
    )
