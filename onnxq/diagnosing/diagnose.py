"""``diagnose()``: the debugging flow of the white paper (arXiv 2106.08295, sect. 3.7) with measured numbers.

    onnxq.diagnose("model.onnx", "calibration.npz", backend="openvino", recipe="mine.yaml")

Is the float model sane on the engine? Is it weights or activations? Which layers, and what is wrong with them? What
helps? Everything is judged by the noise of the model's outputs on a few samples.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from onnxq.backends.backend import Backend
from onnxq.begin import begin, from_card, written_recipe
from onnxq.clock import Clock
from onnxq.diagnosing.advice import advice, recipe_text
from onnxq.diagnosing.cure import Cure, Trial, cured
from onnxq.diagnosing.ends import ends, showing
from onnxq.diagnosing.layers import LayerNoise, layers, ranked
from onnxq.diagnosing.parts import Parts, Tensors, parts
from onnxq.diagnosing.remedies import remedies
from onnxq.diagnosing.sanity import Sanity, sanity
from onnxq.diagnosing.scored import Scored, scored
from onnxq.diagnosing.switched import AT_INPUT, rounded, switched
from onnxq.diagnosing.symptoms import Symptom, spreads, symptoms
from onnxq.errors import DataError
from onnxq.execute import Session
from onnxq.few_samples import few
from onnxq.model import ModelLike
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.recipe import Recipe
from onnxq.samples import Data, Samples
from onnxq.stages import calibrated
from onnxq.workspace import Progress, silent

BUDGET = 120.0  # seconds
CALIBRATED_ON = 128  # samples, unless it is said otherwise: a remedy may have to calibrate again
JUDGED_ON = 16
BATCH = 4
FEWEST = 2
LAYERS_SHARE = 0.5  # of the budget; the rest is for remedies


@dataclass(frozen=True)
class Diagnosed:
    """``layers``: noisiest first. ``symptoms`` by layer. ``recipe``: what is recommended, as YAML. ``scores``: in
    points, where a card has labels. ``samples``: how many the outputs were judged on. ``seconds``: of what was done."""

    model: str
    backend: str
    title: str
    data: str
    samples: int
    sanity: Sanity
    parts: Parts
    layers: tuple[LayerNoise, ...]
    symptoms: Mapping[str, tuple[Symptom, ...]]
    cure: Cure
    scores: Scored | None
    advice: tuple[str, ...]
    recipe: str
    budget: float
    seconds: Mapping[str, float]


def diagnose(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    backend: str | Backend | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    budget: float = BUDGET,
    progress: Progress = silent,
) -> Diagnosed:
    """Diagnose what the ``recipe`` (the default one, or the card's) makes of a model on one backend.

    ``budget``: seconds after which nothing further is begun. Raises OnnxqError for whatever the user can mend.
    """
    said = model.name if isinstance(model, Card) else str(model) if isinstance(model, str | Path) else "model"
    card = model if isinstance(model, Card) else None
    if isinstance(model, Card):
        samples, recipe, options = from_card(model, samples, recipe, options)
        model = model.model_path
    options = replace(options, build=False, samples=options.samples or CALIBRATED_ON)
    clock, end = Clock(), time.perf_counter() + budget
    with clock("quantize"):
        written = written_recipe(recipe, options)
        beginning = begin(model, samples, backend, written, options, progress, build=False)
        whole = calibrated(beginning.copy(), written.passes, clock)
        space = rounded(whole.copy().spaces[0], whole.rest)
        network = switched(space)
    asked, own = beginning.asked[0], beginning.base
    with clock("parts"):
        heard = showing(network.wanted, ends(network.wanted))
        left = (end - time.perf_counter()) / 2
        batches, wanted, judged = _answered(heard, own.samples, len(network.sites), left)
        found = parts(network, batches, wanted)
        if math.isinf(min(found.weights, found.activations, found.both)):
            raise DataError(
                f"{own.samples.description}: no output can be compared, being zero, infinite, integer, or of another "
                "shape once the model is quantized. Give samples like those the model will see, or cut the model "
                "before what selects boxes."
            )
        state = sanity(own.source, asked, batches)
    with clock("layers"):
        last = time.perf_counter() + LAYERS_SHARE * (end - time.perf_counter())
        measured = layers(
            network,
            batches,
            wanted,
            lambda: time.perf_counter() < last,
            lambda done, total: progress("one layer at a time", done, total),
        )
        wrong = symptoms(space, network.sites, batches)
        noises = ranked(measured, spreads(wrong))
    with clock("remedies"):
        source = Session(own.source)
        trial = Trial(beginning, whole, batches, [source.run(feeds) for feeds in batches])
        offered = remedies(written, space.backend, _worst(noises))
        cure = cured(
            written,
            offered,
            trial,
            lambda: end - time.perf_counter(),
            lambda done, total: progress("remedies", done, total),
        )
    scores = None
    if card is not None and cure.names and time.perf_counter() < end:
        with clock("metric"):
            scores = scored(card, [trial.model(written), trial.model(cure.recipe)])
    words = advice(state, found, noises, wrong, cure)
    text = recipe_text(cure.recipe, asked.name, words)
    return Diagnosed(
        said,
        asked.name,
        asked.title,
        own.samples.description,
        judged,
        state,
        found,
        noises,
        wrong,
        cure,
        scores,
        words,
        text,
        budget,
        dict(clock.seconds),
    )


def _answered(
    model: onnx.ModelProto, samples: Samples, sites: int, seconds: float
) -> tuple[list[Tensors], list[Tensors], int]:
    """As many batches, with their answers, as leave time to run every layer alone and left out; and how many samples
    they are."""
    session = Session(model, optimize=False)
    held = few(samples, JUDGED_ON, BATCH)
    session.run(held[0].feeds)
    wanted: list[Tensors] = []
    start = time.perf_counter()
    for batch in held:
        wanted.append(session.run(batch.feeds))
        each = (time.perf_counter() - start) / len(wanted)
        if len(wanted) >= FEWEST and (len(wanted) + 1) * each * sites * 2 > seconds:  # three runs of about half of it
            break
    kept = held[: len(wanted)]
    return [batch.feeds for batch in kept], wanted, sum(batch.count for batch in kept)


def _worst(noises: tuple[LayerNoise, ...]) -> list[str]:
    """Layers that can be left float, noisiest first."""
    return [one.site.layer for one in noises if one.measured and one.alone > 0 and one.site.layer != AT_INPUT]
