"""quantize(): the whole story on one page.

model ─▶ prepare ─▶ plan ─▶ calibrate ─▶ refine ─▶ emit ─▶ build ─▶ judge ─▶ report
"""

from collections.abc import Mapping
from pathlib import Path

from onnxq.ablation import ablate as ablated
from onnxq.ablation import optional
from onnxq.begin import Backends, begin, from_card, unsampled, written_recipe
from onnxq.clock import Clock
from onnxq.judge import Judge
from onnxq.metrics import Metric, metric_of
from onnxq.model import ModelLike
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.provenance.told import stamped, told_of
from onnxq.ranges.export import with_ranges
from onnxq.ranges.own_tensors import own_tensors
from onnxq.recipe import Recipe
from onnxq.result import Result
from onnxq.samples import Data, open_samples
from onnxq.stages import calibrated, finish
from onnxq.workspace import Progress, silent


def quantize(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: Backends | None = None,
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
    of these, and what is given replaces its own. ``samples`` may be left out where no activation becomes integer.
    ``ablate`` runs the recipe again without each of its optional passes, for the table ``ablation`` of the result.
    Raises OnnxqError for whatever the user can mend.
    """
    said = model.name if isinstance(model, Card) else str(model) if isinstance(model, str | Path) else "model"
    if isinstance(model, Card):
        samples, recipe, options = from_card(model, samples, recipe, options)
        test, metric = model.test_path if test is None else test, metric or metric_of(model)
        model = model.model_path
    clock = Clock()
    with clock("prepare"):
        written = written_recipe(recipe, options)
        if samples is None:
            written, samples = unsampled(written)
        if ablate:
            optional(written)
        beginning = begin(model, samples, backend, written, options, progress, build=options.build)
    base = beginning.base
    source, data = base.source, base.samples
    ready = calibrated(beginning.copy() if ablate else beginning, written.passes, clock)
    if base.record is not None:
        base.record.keep()
    kept = ready.copy() if ablate else ready
    own = {
        space.backend.name: own_tensors(space, space.plan.activations)
        for space in ready.spaces
        if options.export_ranges
    }
    with clock("refine"):
        found = {space.backend.name: finish(space, ready.rest, options.portrayed) for space in ready.spaces}
        found = {name: with_ranges(entry, own[name]) if name in own else entry for name, entry in found.items()}
    ablation = None
    if options.build or ablate:
        tests = data if test is None else open_samples(test, data.inputs, preprocessing=options.preprocessing)
        judge = Judge(source, tests, metric, progress, clock)
        if options.build:
            found = {space.backend.name: judge(space.backend, found[space.backend.name]) for space in ready.spaces}
        if ablate:
            with clock("ablate"):
                ablation = ablated(written, beginning, kept, found, judge, progress)
    smoke_test = isinstance(samples, str) and samples == "random"  # an array compares by element
    told = told_of(beginning, written, options, smoke_test)
    found = {name: stamped(entry, told) for name, entry in found.items()}
    return Result(said, data.description, written.written(), found, dict(clock.seconds), smoke_test, ablation=ablation)
