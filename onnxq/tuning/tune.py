"""``tune()``: the fastest graph that keeps the accuracy, and the recipe that makes it again, byte for byte.

    onnxq.tune("model.onnx", "calibration.npz", test="test.npz", metric="top1", max_drop=0.5, backend="openvino")

Candidates are recipes. Each is measured where it will run, by the metric, after it has passed the counterexamples that
earlier ones left; see ``search`` for the order in which they are tried.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

from onnxq.backends.backend import Backend
from onnxq.begin import backends_of, from_card, written_recipe
from onnxq.build import Built, build
from onnxq.clock import Clock
from onnxq.cluster.connection import connected
from onnxq.errors import DataError, EngineError, RecipeError
from onnxq.evaluating.running import SIMULATION
from onnxq.facts import versions
from onnxq.inputs import InputSpec, batch_axis, input_specs
from onnxq.measured import said, word_of
from onnxq.metrics import Metric, metric_of
from onnxq.model import ModelLike, load_model
from onnxq.models.card import Card
from onnxq.options import Options
from onnxq.recipe import Recipe
from onnxq.result import BackendResult
from onnxq.sample_words import words
from onnxq.samples import Data, Samples, open_samples
from onnxq.solving.budget import require_highs
from onnxq.tuning.attempts import Attempts, Spread
from onnxq.tuning.candidate import Candidate, Outcome
from onnxq.tuning.counterexamples import Counterexample
from onnxq.tuning.elsewhere import Elsewhere
from onnxq.tuning.journal import Journal
from onnxq.tuning.keeper import Keeper, text
from onnxq.tuning.measuring import measure_of
from onnxq.tuning.search import search
from onnxq.tuning.sensitivity import Sensitivity, sensitivity
from onnxq.tuning.trials import Task, Trials
from onnxq.workspace import Progress, silent

BUDGET = 600.0  # seconds
MAX_DROP = 0.5
BATCH = 16  # that engines are built for, where the model leaves it open


@dataclass(frozen=True)
class Tuned:
    """``outcomes``: of all candidates, in the order in which they were tried; ``best``: the one that ``recipe`` (YAML)
    makes, which may lose more than ``max_drop`` where none ``keeps`` the accuracy; None where none could be made.
    ``counterexamples``: the inputs that candidates had to pass. ``built``: its speed beside FP32's, None where no
    engine runs here, for which ``not_deployed`` has the reason. ``resumed``: how many outcomes an earlier run left."""

    model: str
    backend: str
    title: str
    data: str
    tests: str
    metric: str
    unit: str
    fp32: float
    max_drop: float
    engine: str
    not_deployed: str
    outcomes: tuple[Outcome, ...]
    best: Outcome | None
    recipe: str | None
    counterexamples: tuple[Counterexample, ...]
    built: Built | None
    resumed: int
    budget: float
    seconds: Mapping[str, float]
    result: BackendResult | None

    @property
    def keeps(self) -> bool:
        """Whether there is a graph that loses no more than may be."""
        return self.best is not None and self.best.keeps

    @property
    def verdict(self) -> str:
        """What came of the search, in a sentence."""
        if self.best is None:
            problem = next((one.problem for one in self.outcomes if one.problem), "there was no time to try a recipe")
            return f"No graph was made: {problem}"
        share = "" if self.best.int8 is None else f", {100 * self.best.int8:.1f} % of multiply-accumulates in INT8"
        reached = f"{self.metric} {self.best.value:.2f} {self.unit}, {self.best.lost:.2f} lost{share}: {self.best.said}"
        if self.keeps:
            return f"Keeps the accuracy: {reached}"
        return (
            f"Nothing that was tried keeps the accuracy; the best has {reached}. Give a larger --budget or --max-drop."
        )


def tune(
    model: ModelLike | Card,
    samples: Data | None = None,
    *,
    test: Data | None = None,
    metric: str | Metric | None = None,
    max_drop: float = MAX_DROP,
    budget: float = BUDGET,
    backend: str | Backend | None = None,
    recipe: str | Path | Mapping[str, object] | Recipe | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    batch: int | None = None,
    deployed: bool = True,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: Progress = silent,
) -> Tuned:
    """Search for the fastest graph that loses at most ``max_drop`` of the ``metric`` (in its unit) of FP32.

    ``samples`` calibrate, ``test`` (by default the same) judge: ``metric`` is as for ``evaluate``. A card brings all
    three. ``budget``: seconds after which nothing further is begun; ``batch``: of the engine that judges; not
    ``deployed``: the graph is judged as it is computed node by node, without an engine. With ``out`` the best graph so
    far is written there, its recipe and a journal beside it, from which the same search goes on unless it is to be
    ``fresh``.
    ``options.cluster``: where candidates are tried side by side. Raises OnnxqError for whatever the user can mend.
    """
    end, clock = time.perf_counter() + budget, Clock()
    require_highs()
    told = model.name if isinstance(model, Card) else str(model) if isinstance(model, str | Path) else "model"
    if isinstance(model, Card):
        samples, recipe, options = from_card(model, samples, recipe, options)
        test = model.test_path if test is None else test
        metric = metric_of(model, options.preprocessing) if metric is None else metric
        model = model.model_path
    if metric is None:
        raise RecipeError("no metric. Give --metric (metric=), as for onnxq evaluate, or a card that has one.")
    options = replace(options, build=False)
    written = written_recipe(recipe, options)
    asked = _one(backends_of(backend or written.backends or "onnxruntime"))
    keeper = Keeper(None if out is None else Path(out), asked.name)
    with clock("begin"):
        source = load_model(model)
        inputs = input_specs(source)
        data, tests = (_opened(given, inputs, options) for given in (samples, samples if test is None else test))
        size = batch or batch_axis(inputs).fixed or BATCH
        measure = measure_of(source, metric, tests, asked, size, deployed=deployed)
        task = Task(_absolute(model), data, asked, written, replace(options, cluster=None), measure, max_drop)
        trials = Trials(task, progress)
        journal = Journal.opened(keeper.journal(fresh), _word(trials), trials.inputs, trials.source)
    resumed = len(journal.known)

    def measured(recipe: Recipe) -> Sensitivity:
        with clock("one grid at a time"):
            space = trials.rounded(recipe)
            return sensitivity(space, attempt.time_left, partial(progress, "one grid at a time"))

    with clock("search"), _spread(options, task, trials) as spread:
        attempt = Attempts(spread, journal, partial(keeper.keep, trials), end, progress)
        search(written, asked, attempt, measured)
    best, built = attempt.best, None
    with clock("build"):
        if best is not None:
            keeper.keep(trials, *best)
            built = _built(trials, best[0])
    return Tuned(
        told,
        asked.name,
        asked.title,
        trials.data,
        measure.tests.description,
        measure.name,
        measure.unit,
        measure.fp32,
        max_drop,
        measure.engine,
        measure.not_deployed,
        tuple(attempt.outcomes),
        best[1] if best is not None else None,
        text(task, *best) if best is not None else None,
        journal.counterexamples.kept,
        built,
        resumed,
        budget,
        dict(clock.seconds),
        trials.result(best[0]) if best is not None else None,
    )


def _one(backends: Sequence[Backend]) -> Backend:
    if len(backends) > 1:
        names = ", ".join(entry.name for entry in backends)
        raise RecipeError(f"backends {names}: each has an optimum of its own. Search for one at a time (--backend).")
    return backends[0]


def _absolute(model: ModelLike) -> ModelLike:
    """For workers, who stand in other folders."""
    return Path(model).absolute() if isinstance(model, str | Path) else model


def _opened(data: Data | None, inputs: tuple[InputSpec, ...], options: Options) -> Samples:
    if data is None:
        raise DataError("no samples. Give --data FILE (samples=) and --test FILE (test=), or a model card.")
    return open_samples(data, inputs, preprocessing=options.preprocessing, seed=options.seed)


def _word(trials: Trials) -> str:
    """The same for the same search: for outcomes of it that were written down."""
    task, measure = trials.task, trials.task.measure
    found = blake2b(digest_size=16)
    settings = (
        word_of(trials.base.source),
        said(task.options.preprocessing),
        task.backend.name,
        task.recipe.written(),
        task.max_drop,
        (measure.metric, measure.engine, measure.batch, measure.fp32),
        sorted(versions().items()),
    )
    found.update(repr(settings).encode())
    for data in (trials.base.samples, measure.tests):
        found.update(words(data).tobytes())
    return found.hexdigest()


@contextmanager
def _spread(options: Options, task: Task, trials: Trials) -> Iterator[Spread]:
    """Here, one after the other, or on the workers of a cluster."""
    if options.cluster is None:
        yield trials.each
        return
    with connected(options.cluster) as client:
        yield Elsewhere(client, task)


def _built(trials: Trials, candidate: Candidate) -> Built | None:
    """The speed of the best one, where an engine runs."""
    measure = trials.task.measure
    if measure.engine == SIMULATION:
        return None
    feeds = next(iter(measure.tests.batches(1))).feeds
    model = trials.result(candidate).model
    try:
        return build(trials.task.backend, trials.base.source, model, feeds, trials.inputs)[1]
    except EngineError:  # at batch 1, where it ran larger ones
        return None
