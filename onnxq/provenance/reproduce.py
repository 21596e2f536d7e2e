"""Make a model again from what it tells of itself, and compare byte for byte."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from onnxq.clock import Clock
from onnxq.errors import DataError, ModelError, RecipeError
from onnxq.judge import Judge
from onnxq.metrics import metric_of
from onnxq.model import load_marked, parse_model
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.preprocess import Preprocessing
from onnxq.provenance.difference import of_circumstances, of_graphs, of_inputs
from onnxq.provenance.provenance import Provenance
from onnxq.provenance.stored import provenance_of, read_provenance
from onnxq.provenance.told import given_of, stamped
from onnxq.recipe import Recipe, load_recipe
from onnxq.result import BackendResult
from onnxq.sample_words import words
from onnxq.samples import Data, input_specs, open_samples
from onnxq.validation import parse_yaml, validated
from onnxq.workspace import Progress, silent

OWN_CLASS = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class Reproduced:
    """Whether the bytes are the same, and if not, in words, what differs; ``notes``: what was not looked at."""

    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not self.differences


def reproduce(
    path: str | Path,
    model: str | Path | Card,
    samples: Data | None = None,
    *,
    statistics: str | Path | None = None,
    ranges: str | Path | None = None,
    own_classes: bool = False,
    progress: Progress = silent,
) -> Reproduced:
    """Make the model at ``path`` again from the FP32 ``model`` and the ``samples``, by its own provenance.

    A card brings samples, and test data with its metric. Classes of the user's own that the recipe names are imported
    with ``own_classes`` only: the file may be anybody's. Raises OnnxqError for whatever the user can mend.
    """
    path = Path(path)
    told = read_provenance(path)
    if told.command != "quantize":
        raise ModelError(f"{path}: made by onnxq {told.command[:20]!r}; only what `onnxq quantize` made is made again.")
    recipe = _recipe(told, path, None if ranges is None else Path(ranges), own_classes)
    card = model if isinstance(model, Card) else None
    if samples is None:
        samples = "random" if told.given.seed is not None else card.calibration_path if card else None
    if samples is None:
        raise DataError(f"{path}: was calibrated on {told.given.count} samples. Give the same: --data FILE (samples=).")
    run = _Run(told, card.model_path if card else Path(str(model)), samples, recipe, card, progress)
    if other := run.other_inputs(statistics, ranges):
        return Reproduced(tuple(other))
    made, notes = run.made(statistics)
    return Reproduced(tuple(_differences(path, told, made)), tuple(notes))


@dataclass(frozen=True)
class _Run:
    told: Provenance
    model: Path
    samples: Data
    recipe: Recipe
    card: Card | None
    progress: Progress

    @property
    def options(self) -> Options:
        given = self.told.given
        said = given.preprocessing
        return Options(
            samples=given.count,
            seed=given.seed or 0,
            build=False,
            preprocessing=None if said is None else validated(Preprocessing, said, "preprocessing"),
            reduce_range=self.told.reduce_range,
        )

    def other_inputs(self, statistics: str | Path | None, ranges: str | Path | None) -> list[str]:
        """What was given and is not what went in then."""
        then, options = self.told.given, self.options
        source, mark = load_marked(self.model)
        data = open_samples(
            self.samples,
            input_specs(source),
            preprocessing=options.preprocessing,
            limit=options.samples,
            seed=options.seed,
        )
        if then.statistics is not None and statistics is None:
            raise DataError("it was made with statistics of other samples. Give them too: --statistics FILE.")
        now = given_of(
            mark,
            data,
            words(data),
            then.seed,
            Path(statistics) if statistics is not None and then.statistics is not None else None,
            None if ranges is None else Path(ranges),
        )
        return of_inputs(then, now)

    def made(self, statistics: str | Path | None) -> tuple[BackendResult, list[str]]:
        """The model made again, and what was not measured again."""
        options = self.options if statistics is None else replace(self.options, statistics=Path(statistics))
        result = quantize(
            self.model,
            self.samples,
            backend=self.told.backends,
            recipe=self.recipe,
            options=options,
            progress=self.progress,
        )
        entry = result[self.told.backend]
        then = self.told.accuracy
        if then is None:
            return entry, []
        now = provenance_of(entry.model)
        if then.metric is not None and self.card is None:
            note = f"accuracy was not measured again: --model has no {then.metric}; a card would"
            return stamped(entry, replace(now, accuracy=then)), [note]
        return stamped(replace(entry, judged=self._judge().simulated(entry)), now), []

    def _judge(self) -> Judge:
        source, _ = load_marked(self.model)
        card, options = self.card, self.options
        test, limit = (card.test_path, None) if card and card.test_path else (self.samples, options.samples)
        tests = open_samples(
            test, input_specs(source), preprocessing=options.preprocessing, limit=limit, seed=options.seed
        )
        return Judge(source, tests, metric_of(card) if card else None, self.progress, Clock())


def _recipe(told: Provenance, path: Path, ranges: Path | None, own_classes: bool) -> Recipe:
    """The recipe in a model, which may be anybody's. Raises RecipeError."""
    value: dict[str, Any] = parse_yaml(told.recipe, f"the recipe in {path}")
    if list(value) != ["passes"]:
        raise RecipeError(f"the recipe in {path}: holds {', '.join(value)[:200]}; onnxq writes 'passes' alone.")
    foreign = sorted(set(_own_classes(value["passes"])))
    if foreign and not own_classes:
        raise RecipeError(
            f"{path}: its recipe runs code that is not onnxq's: {', '.join(foreign)[:200]}. If it is yours: "
            "--own-classes (own_classes=True)."
        )
    if told.given.ranges is not None and ranges is None:
        raise RecipeError(f"{path}: was made with a file of ranges. Give it too: --ranges FILE (ranges=).")
    if isinstance(value["passes"], list):
        value["passes"] = [_with_ranges(step, ranges) for step in value["passes"]]
    return load_recipe(value)


def _with_ranges(step: object, ranges: Path | None) -> object:
    """The file that is given in place of its fingerprint."""
    options = step.get("calibrate") if isinstance(step, Mapping) else None
    if not isinstance(options, Mapping) or options.get("ranges") is None:
        return step
    return {"calibrate": {**options, "ranges": None if ranges is None else str(ranges)}}


def _own_classes(value: object) -> list[str]:
    """Whatever might be read as ``module:Class``."""
    if isinstance(value, Mapping):
        return [name for pair in value.items() for one in pair for name in _own_classes(one)]
    if isinstance(value, list):
        return [name for one in value for name in _own_classes(one)]
    return [value] if isinstance(value, str) and OWN_CLASS.fullmatch(value) else []


def _differences(path: Path, told: Provenance, made: BackendResult) -> list[str]:
    """Of the files at and beside ``path`` and those that are made now."""
    with TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        made.save(again)
        files = made.files(again)
        other = [file.name for file in files if not _alike(file, path.with_name(file.name))]
        if not other:
            return []
        then, now = parse_model(path), parse_model(again)
        found = [*of_circumstances(told, provenance_of(now)), *of_graphs(then, now)]
        said = [f"bytes: {name} is not the same" for name in other]
        return found + said if found else [*said, "the graph, its constants and what it tells of itself are the same"]


def _alike(made: Path, given: Path) -> bool:
    try:
        if made.stat().st_size != given.stat().st_size:
            return False
        with made.open("rb") as one, given.open("rb") as other:
            return all(part == other.read(1 << 20) for part in iter(lambda: one.read(1 << 20), b""))
    except FileNotFoundError:
        return False
