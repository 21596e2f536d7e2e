"""The provenance of a run: hashes of its inputs, its recipe, the versions that decide, and how accurate it came out."""

import dataclasses
import json
import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from onnxq.fingerprint import fingerprint_of_file, fingerprint_of_samples
from onnxq.options import Options
from onnxq.outside import total_bytes
from onnxq.passes import Calibrate, RoundWeights
from onnxq.preprocess import Preprocessing
from onnxq.provenance.provenance import Accuracy, Given, Provenance
from onnxq.provenance.stored import stamp
from onnxq.recipe import Recipe
from onnxq.recipes.text import text_of
from onnxq.result import BackendResult, Judged
from onnxq.sample_words import Words, words
from onnxq.samples import Samples
from onnxq.solving.widths import Widths
from onnxq.stages import Beginning
from onnxq.workspace import Pass

DECIDING = ("onnxq", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "pillow")
"""Packages that decide on bytes: no engine does."""


def told_of(beginning: Beginning, recipe: Recipe, options: Options, random: bool) -> Provenance:
    """Of a run of ``quantize``; ``random``: its samples were random numbers. Reads the samples once more."""
    base, record = beginning.base, beginning.base.record
    found = words(base.samples)
    other = record is not None and _others(record.measured.samples, found)
    ranges = next((step.ranges for step in recipe.passes if isinstance(step, Calibrate) and step.ranges), None)
    went_in = given_of(
        beginning.mark,
        base.samples,
        found,
        options.seed if random else None,
        Path(options.statistics) if other and options.statistics is not None else None,
        None if ranges is None else Path(ranges),
    )
    return Provenance(
        "quantize",
        "",
        tuple(backend.name for backend in beginning.backends),
        written_down(recipe),
        went_in,
        versions(recipe),
        any(one is not other for one, other in zip(beginning.asked, beginning.backends, strict=True)),
    )


def stamped(entry: BackendResult, told: Provenance) -> BackendResult:
    """The result of one backend, whose models now tell where they come from."""
    accuracy = told.accuracy if entry.judged is None else accuracy_of(entry.judged)
    told = dataclasses.replace(told, backend=entry.backend, accuracy=accuracy)
    for model in (entry.model, *((entry.delivery.model,) if entry.delivery is not None else ())):
        stamp(model, told)
    return dataclasses.replace(entry, size_after=total_bytes(entry.model))


def given_of(
    mark: str,
    samples: Samples,
    found: Words,
    seed: int | None = None,
    statistics: Path | None = None,
    ranges: Path | None = None,
) -> Given:
    """``mark``: the fingerprint of the model; ``found``: the words of the ``samples``."""
    return Given(
        mark,
        fingerprint_of_samples(found),
        len(found),
        seed,
        _said(samples.preprocessing),
        None if statistics is None else fingerprint_of_file(statistics),
        None if ranges is None else fingerprint_of_file(ranges),
    )


def _others(measured: Words, found: Words) -> bool:
    """Whether statistics hold other samples than those given, and so are an input of their own: of the same samples
    they tell what measuring now would."""
    return not np.array_equal(np.sort(measured), np.sort(found))


def _said(preprocessing: Preprocessing | None) -> Mapping[str, object] | None:
    if preprocessing is None:
        return None
    said: dict[str, object] = json.loads(preprocessing.model_dump_json(exclude_defaults=True))
    return said


def written_down(recipe: Recipe) -> str:
    """The recipe as YAML; a file that a pass names goes by its fingerprint, since its place is this machine's."""
    return text_of(
        [_placeless(step, *entry.items()) for step, entry in zip(recipe.passes, recipe.written(), strict=True)]
    )


def _placeless(step: Pass, written: tuple[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    name, options = written
    paths = {
        field: options[field]
        for field in getattr(step, "paths", ())
        if isinstance(options.get(field), str) and options[field]
    }
    return {name: {**options, **{field: fingerprint_of_file(Path(str(path))) for field, path in paths.items()}}}


def versions(recipe: Recipe) -> dict[str, str]:
    """Of the packages that decide on the bytes."""
    budget = any(isinstance(step, RoundWeights) and Widths.of(step.bits).budget is not None for step in recipe.passes)
    found = {}
    for package in (*DECIDING, *(("highspy",) if budget else ())):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # another distribution of it, such as onnxruntime-gpu
            continue
    return found


def accuracy_of(judged: Judged) -> Accuracy:
    worst = min((like.sqnr_db for like in judged.graph), default=None)
    scores = judged.scores
    sqnr = None if worst is None else round(worst, 1) if math.isfinite(worst) else str(worst)
    if scores is None:
        return Accuracy(judged.samples, sqnr)
    return Accuracy(judged.samples, sqnr, scores.metric, scores.unit, round(scores.fp32, 2), round(scores.graph, 2))
