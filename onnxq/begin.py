"""Begin a run: from what a user gives to the graph, the samples and the backends that every stage works on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnxq.backends import backend_of, require
from onnxq.backends.backend import Backend
from onnxq.backends.saturation import reduced
from onnxq.caching.statistics import kept_record
from onnxq.caching.store import store_at
from onnxq.cluster.connection import reach
from onnxq.data.register import Register
from onnxq.errors import DataError, RecipeError
from onnxq.measured import Measured, said, word_of
from onnxq.measured_file import load_measured
from onnxq.model import ModelLike, load_marked, to_graph
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.passes import CastFloat, CorrectBias, PlanIntegers, RoundWeights
from onnxq.planning.activation_bits import activation_widths, refuse_bits
from onnxq.proof import Proof
from onnxq.recipe import Recipe, load_recipe
from onnxq.record import Record
from onnxq.sample_words import words
from onnxq.samples import Data, input_specs, open_samples
from onnxq.stages import Beginning
from onnxq.workspace import Progress, Workspace

Backends = str | Backend | Sequence[str | Backend]


def written_recipe(recipe: str | Path | Mapping[str, object] | Recipe | None, options: Options) -> Recipe:
    """The recipe, the default one if there is none, with the options written into it."""
    return options.applied(load_recipe(recipe or "default"))


def unsampled(recipe: Recipe) -> tuple[Recipe, Data | None]:
    """The recipe as it can be run without samples, and numbers to try the graph on, where no activation becomes
    integer: without what is measured on samples."""
    if not any(isinstance(step, PlanIntegers) and not step.activations for step in recipe.passes):
        return recipe, None
    kept = tuple(step for step in recipe.passes if not isinstance(step, CorrectBias))
    nearest = (replace(step, solver="nearest") if isinstance(step, RoundWeights) else step for step in kept)
    return replace(recipe, passes=tuple(nearest)), "random"


def begin(
    model: ModelLike,
    samples: Data | None,
    backend: Backends | None,
    recipe: Recipe,
    options: Options,
    progress: Progress,
    *,
    build: bool,
) -> Beginning:
    """What the ``recipe`` begins with. Whatever the user can mend is said now."""
    if samples is None:
        raise DataError(
            "no calibration data. Give --data FILE (samples=), or a model card; `random` is a smoke test. Weights "
            "alone need none: --weights-only."
        )
    asked = backends_of(backend or recipe.backends or "onnxruntime")
    backends = [reduced(entry, options.reduce_range) for entry in asked]
    refuse_floats(recipe, backends)
    _refuse_bits(recipe, backends)
    if build:
        for entry in backends:
            require(entry)
    if options.cluster is not None:
        reach(options.cluster)
    source, mark = load_marked(model)
    data = open_samples(
        samples, input_specs(source), preprocessing=options.preprocessing, limit=options.samples, seed=options.seed
    )
    data = replace(data, register=Register())  # what is calibrated on is written into the graph
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
    if options.statistics is not None:
        measured = load_measured(Path(options.statistics))
        measured.check(word_of(source), words(data), said(options.preprocessing))
        base.record = Record(measured)
    elif options.cache is not None:
        measured = Measured(word_of(source), words(data), said(options.preprocessing))
        base.record = kept_record(store_at(options.cache), mark, measured)
    _tell_frozen_inputs(base)
    return Beginning(base, tuple(asked), tuple(backends), Proof(source, data), mark)


def backends_of(wanted: str | Backend | Sequence[str | Backend]) -> list[Backend]:
    """Each once. Raises RecipeError for a name that is none, or that two of them have."""
    found: dict[str, Backend] = {}
    for entry in [wanted] if isinstance(wanted, str | Backend) else wanted:
        backend = backend_of(entry) if isinstance(entry, str) else entry
        if found.setdefault(backend.name, backend) is not backend:
            raise RecipeError(f"two backends are named {backend.name!r}, and results go by name. Rename one.")
    return list(found.values())


def refuse_floats(recipe: Recipe, backends: Sequence[Backend]) -> None:
    """Raises RecipeError where floats of 8 or 16 bits are asked for, and no backend takes them; one of several may
    not."""
    for step in recipe.passes:
        if isinstance(step, PlanIntegers) and step.numbers == "fp8" and not any(b.float8 for b in backends):
            raise RecipeError(f"numbers: no FP8 (--numbers): {backends[0].title} has no kernels for it. Leave it out.")
        if isinstance(step, CastFloat) and not any(step.to in backend.floats for backend in backends):
            raise RecipeError(f"float: no {step.to.upper()} (--float): {backends[0].fp32_reason}. Leave it out.")


def _refuse_bits(recipe: Recipe, backends: Sequence[Backend]) -> None:
    """Raises RecipeError where a backend has no activations of the bits that are asked for."""
    for step in recipe.passes:
        if isinstance(step, PlanIntegers):
            for backend in backends:
                refuse_bits(activation_widths(step.activation_bits), backend)


def from_card(
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
