"""quantize(): the whole story on one page.

model ─▶ prepare ─▶ plan ─▶ calibrate ─▶ refine ─▶ emit ─▶ build ─▶ judge ─▶ report
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnxq.ablation import ablate as ablated
from onnxq.ablation import optional
from onnxq.backends import backend_of, require
from onnxq.backends.backend import Backend
from onnxq.backends.saturation import reduced
from onnxq.clock import Clock
from onnxq.cluster.connection import reach
from onnxq.errors import DataError, RecipeError
from onnxq.judge import Judge
from onnxq.metrics import Metric, metric_of
from onnxq.model import ModelLike, load_model, to_graph
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.passes import CastFloat
from onnxq.proof import Proof
from onnxq.ranges.export import with_ranges
from onnxq.ranges.own_tensors import own_tensors
from onnxq.recipe import Recipe, load_recipe
from onnxq.result import Result
from onnxq.samples import Data, input_specs, open_samples
from onnxq.stages import Beginning, calibrated, finish
from onnxq.workspace import Progress, Workspace, silent


def quantize(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: str | Backend | Sequence[str | Backend] | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    test: Data | None = None,
    metric: Metric | None = None,
    ablate: bool = False,
    progress: Progress = silent,
) -> Result:
    """Quantize ``model`` for one backend or several, with one calibration, and judge what came of it.

    ``samples`` calibrate; ``test`` (by default the same) judge, with ``metric`` where they carry labels. ``backend``
    is ``onnxruntime`` unless it or the recipe says otherwise, and may be a ``Backend`` of your own. A card brings all
    of these, and what is given replaces its own. ``ablate`` runs the recipe again without each of its optional passes,
    for the table ``ablation`` of the result. Raises OnnxqError for whatever the user can mend.
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
        if ablate:
            optional(written)
        if options.build:
            for entry in backends:
                require(entry)
        if options.cluster is not None:
            reach(options.cluster)
        source = load_model(model)
        inputs = input_specs(source)
        data = open_samples(
            samples, inputs, preprocessing=options.preprocessing, limit=options.samples, seed=options.seed
        )
        base = Workspace(
            to_graph(source),
            source,
            data,
            backends[0],
            options.batch,
            options.cluster,
            progress=progress,
            beside=tuple(backends[1:]),
        )
        _tell_frozen_inputs(base)
        beginning = Beginning(base, tuple(asked), tuple(backends), Proof(source, data))
    ready = calibrated(beginning.copy() if ablate else beginning, written.passes, clock)
    kept = ready.copy() if ablate else ready
    own = {
        space.backend.name: own_tensors(space, space.plan.activations)
        for space in ready.spaces
        if options.export_ranges
    }
    with clock("refine"):
        found = {space.backend.name: finish(space, ready.rest) for space in ready.spaces}
        found = {name: with_ranges(entry, own[name]) if name in own else entry for name, entry in found.items()}
    ablation = None
    if options.build or ablate:
        tests = data if test is None else open_samples(test, inputs, preprocessing=options.preprocessing)
        judge = Judge(source, tests, metric, progress, clock)
        if options.build:
            found = {space.backend.name: judge(space.backend, found[space.backend.name]) for space in ready.spaces}
        if ablate:
            with clock("ablate"):
                ablation = ablated(written, beginning, kept, found, judge, progress)
    smoke_test = isinstance(samples, str) and samples == "random"  # an array compares by element
    return Result(said, data.description, written.written(), found, dict(clock.seconds), smoke_test, ablation=ablation)


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


def _tell_frozen_inputs(base: Workspace) -> None:
    """Weights that a caller could replace, as old exporters write them, are constants from now on."""
    held = {tensor.name for tensor in base.source.graph.initializer}
    frozen = [value.name for value in base.source.graph.input if value.name in held]
    if frozen:
        reason = f"{len(frozen)} weights are no longer inputs of the model that a caller could replace"
        base.ledger.add("changed", "prepare", frozen[0], reason)
