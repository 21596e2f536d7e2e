"""calibrate(): measure a model's tensors on samples once, for every backend and every calibrator."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from onnxq.backends import BACKENDS
from onnxq.begin import Backends, begin, from_card, written_recipe
from onnxq.clock import Clock
from onnxq.errors import DataError
from onnxq.measured import Measured, said, word_of
from onnxq.measured_file import load_measured, save_measured
from onnxq.model import ModelLike
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.recipe import Recipe
from onnxq.record import Record
from onnxq.sample_words import words
from onnxq.samples import Data
from onnxq.stages import calibrated
from onnxq.workspace import Pass, Progress, SampledRewrite, silent

SUFFIX = ".part"  # of the file that an interrupted run leaves beside what it would have written


def calibrate(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: Backends | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    out: str | Path | None = None,
    progress: Progress = silent,
) -> Measured:
    """The statistics that ``quantize`` needs for each ``backend`` (by default all engines), alone or together.

    With ``out`` they are written there, and now and then to ``out.part``: the next run after the same goes on from
    that. Raises OnnxqError for whatever the user can mend.
    """
    if isinstance(model, Card):
        samples, recipe, options = from_card(model, samples, recipe, options)
        model = model.model_path
    if options.statistics is not None:
        raise DataError("statistics: they are what is measured here. Leave them out.")
    written = written_recipe(recipe, options)
    beginning = begin(model, samples, backend or tuple(BACKENDS), written, options, progress, build=False)
    base = beginning.base
    given = words(base.samples)
    measured = Measured(word_of(base.source), given, said(options.preprocessing))
    part = None if out is None else Path(f"{out}{SUFFIX}")
    record = Record(measured, everything=True)
    if part is not None:
        record.measured = _resumed(part, measured)
        record.save = lambda known: save_measured(known, part)
    base.record = record
    blind = _blind(written.passes)
    for passes in [written.passes] if blind == written.passes else [written.passes, blind]:
        # A graph for several backends may differ from the graph for one: balanced channels serve all of them.
        for one in [*beginning.alone(), beginning][: None if len(beginning.backends) > 1 else 1]:
            calibrated(one.copy(), passes, Clock())
            if record.save is not None:
                record.save(record.measured)
    if out is not None and part is not None:
        save_measured(record.measured, Path(out))
        part.unlink(missing_ok=True)
    return record.measured


def _blind(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Without rewrites that go by samples: of other samples they make another graph, whose statistics do not merge."""
    return tuple(step for step in passes if not isinstance(step, SampledRewrite))


def _resumed(part: Path, measured: Measured) -> Measured:
    """What an interrupted run left, if it was after the same; else nothing."""
    if not part.exists():
        return measured
    try:
        found = load_measured(part)
        found.check(measured.model, measured.samples, measured.preprocessing)
    except DataError:
        return measured
    if len(found.samples) != len(measured.samples) or (found.samples != measured.samples).any():
        return measured
    return replace(measured, known=found.known, begun=found.begun, done=found.done)
