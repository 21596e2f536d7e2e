"""retarget(): a quantized model becomes the graph another engine wants, with the grids it learned.

quantized model ─▶ lift ─▶ plan ─▶ keep grids and integers ─▶ emit ─▶ build ─▶ judge ─▶ report
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx

from onnxq.backends import require
from onnxq.backends.backend import Backend
from onnxq.begin import backends_of, refuse_floats
from onnxq.clock import Clock
from onnxq.data.learned_noise import learned_noise
from onnxq.errors import ModelError
from onnxq.execute import Session
from onnxq.judge import Judge
from onnxq.lifting.lift import Lifted, lift
from onnxq.model import ModelLike, load_marked, to_graph
from onnxq.options import Options
from onnxq.passes import Calibrate, FoldConstants, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.plan import nothing_to_quantize
from onnxq.provenance.provenance import Provenance
from onnxq.provenance.told import given_of, stamped, versions, written_down
from onnxq.recipe import Recipe
from onnxq.result import BackendResult, Kept, Result
from onnxq.retargeting.fit import reals
from onnxq.retargeting.fold_norms import fold_norms
from onnxq.retargeting.keep import keep_activations, keep_weights, only_integer_weights
from onnxq.sample_words import words
from onnxq.samples import Data, Samples, input_specs, open_samples
from onnxq.stages import finish, run
from onnxq.workspace import Progress, Workspace, silent

RECIPE = Recipe((FoldConstants(), PlanIntegers(), Calibrate(), RoundWeights(), InsertQdq()))
"""Without float rewrites that change weights, since integers would be lost; ``fold_norms`` keeps them."""


def retarget(
    model: ModelLike,
    backend: str | Backend | Sequence[str | Backend],
    samples: Data | None = None,
    *,
    options: Options = Options(),  # noqa: B008 - frozen
    refit: bool = False,
    progress: Progress = silent,
) -> Result:
    """The graphs of one backend or several of a model that is quantized already, with its learned scales.

    What a backend cannot express is listed in the ledger. Without ``samples`` only what was integer stays so, and
    outputs are compared on random numbers within the learned ranges; with them, what the backend wants beside is
    calibrated. ``refit`` takes a backend's fastest grid even where the learned one could be kept. The reference of
    the result is the float model that the given one stands for. Raises OnnxqError for whatever the user can mend.
    """
    said = str(model) if isinstance(model, str | Path) else "model"
    clock = Clock()
    with clock("prepare"):
        recipe = options.applied(RECIPE)
        backends = backends_of(backend)
        refuse_floats(recipe, backends)
        if options.build:
            for entry in backends:
                require(entry)
        given, mark = load_marked(model, quantized=True)
        lifted = lift(given)
        data = _samples(samples, lifted, options)
        base = Workspace(to_graph(lifted.model), lifted.model, data, backends[0], options.batch, progress=progress)
        for note in lifted.notes:
            base.ledger.add(note.kind, note.stage, note.subject, note.reason, note.op_type)
        FoldConstants()(base)
        lifted = fold_norms(base, lifted)
    with clock("retarget"):
        spaces = [base.fork(entry) for entry in backends]
        found = {
            space.backend.name: _retarget(space, lifted, given, recipe, refit, samples is not None, options.portrayed)
            for space in spaces
        }
    if options.build:
        judge = Judge(lifted.model, data, None, progress, clock, _runnable(given, spaces))
        found = {space.backend.name: judge(space.backend, found[space.backend.name]) for space in spaces}
    told = Provenance(
        "retarget",
        "",
        tuple(found),
        written_down(recipe),
        given_of(mark, data, words(data), options.seed if samples is None else None),
        versions(recipe),
    )
    found = {name: stamped(entry, told) for name, entry in found.items()}
    return Result(said, data.description, recipe.written(), found, dict(clock.seconds), task="retargeted, compared on")


def _samples(samples: Data | None, lifted: Lifted, options: Options) -> Samples:
    inputs = input_specs(lifted.model)
    if samples is not None:
        return open_samples(
            samples, inputs, preprocessing=options.preprocessing, limit=options.samples, seed=options.seed
        )
    ranges = {name: reals(entries[0].params) for name, entries in lifted.activations.items()}
    return Samples(learned_noise(inputs, ranges, options.samples, options.seed), inputs)


def _runnable(given: onnx.ModelProto, spaces: Sequence[Workspace]) -> onnx.ModelProto | None:
    """The model given, unless onnxruntime does not know its operators."""
    try:
        Session(given, optimize=False)
    except ModelError as error:
        for space in spaces:
            space.ledger.add("warning", "judge", "graph", f"answers are not compared with the model given: {error}")
        return None
    return given


def _retarget(
    space: Workspace,
    lifted: Lifted,
    given: onnx.ModelProto,
    recipe: Recipe,
    refit: bool,
    calibrated: bool,
    portrayed: bool,
) -> BackendResult:
    kept = Kept(0, 0, 0, 0)
    for step in recipe.passes:
        if isinstance(step, FoldConstants):
            continue
        if isinstance(step, PlanIntegers):
            run(space, step)
            if not calibrated:
                only_integer_weights(space, lifted)
        elif isinstance(step, Calibrate):
            exact = keep_activations(space, lifted, refit, step if calibrated else None)
            kept = replace(kept, activations=exact, of_activations=len(space.activations))
        elif isinstance(step, RoundWeights):
            kept = replace(kept, weights=keep_weights(space, lifted, step), of_weights=len(space.weights))
        if not space.plan.weights:
            raise ModelError(
                f"{nothing_to_quantize(space, space.plan)} Only what is integer in the model given is so for another "
                "engine; with --data FILE (samples=) the rest is calibrated."
            )
    at = next((i for i, step in enumerate(recipe.passes) if isinstance(step, InsertQdq)), 0)
    result = finish(space, recipe.passes[at:], portrayed)
    return replace(result, size_before=given.ByteSize(), kept=kept)
