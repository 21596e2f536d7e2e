"""Make the graph of a candidate, see whether it passes the counterexamples, and measure it where it will run.

All candidates of a search begin with one graph, one calibration as far as it serves them, and the same FP32 answers.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from onnxq.backends.backend import Backend
from onnxq.begin import begin
from onnxq.clock import Clock
from onnxq.diagnosing.cure import Trial
from onnxq.diagnosing.switched import rounded
from onnxq.errors import DataError, OnnxqError
from onnxq.execute import Session
from onnxq.few_samples import few
from onnxq.held_out import Heard
from onnxq.inputs import InputSpec
from onnxq.measured import Measured, said, word_of
from onnxq.model import ModelLike
from onnxq.options import Options
from onnxq.provenance.provenance import Provenance
from onnxq.provenance.told import told_of
from onnxq.recipe import Recipe
from onnxq.record import Record
from onnxq.result import BackendResult
from onnxq.sample_words import words
from onnxq.samples import Samples
from onnxq.stages import calibrated
from onnxq.tuning.candidate import Candidate, Outcome
from onnxq.tuning.counterexamples import Counterexample, Counterexamples, Feeds, found
from onnxq.tuning.measuring import Measure
from onnxq.workspace import Progress, Workspace, silent

JUDGED_ON, BATCH = 16, 4
SEARCHED = 24  # samples among which counterexamples are looked for
ROUNDING = 1e-9  # points: 0.3 is not what 37.3 - 37.0 gives


@dataclass(frozen=True)
class Task:
    """What a search is about: all that is needed to try a candidate, here or elsewhere. ``recipe``: the one that the
    search begins with; ``max_drop``: how much of the metric may be lost, in its unit."""

    model: ModelLike
    samples: Samples
    backend: Backend
    recipe: Recipe
    options: Options
    measure: Measure
    max_drop: float


@dataclass(frozen=True)
class Tried:
    """An outcome, and the counterexamples that were found for it."""

    outcome: Outcome
    found: tuple[Counterexample, ...] = ()


@dataclass
class Trials:
    """Tries one candidate after another. ``made``: the last one with its graph."""

    task: Task
    progress: Progress = silent
    trial: Trial = field(init=False)
    base: Workspace = field(init=False)
    source: Session = field(init=False)
    made: tuple[Candidate, BackendResult] | None = None

    def __post_init__(self) -> None:
        task = self.task
        beginning = begin(task.model, task.samples, task.backend, task.recipe, task.options, self.progress, build=False)
        base = beginning.base
        if base.record is None:  # what is measured for one candidate serves the next
            base.record = Record(Measured(word_of(base.source), words(base.samples), said(base.samples.preprocessing)))
        whole = calibrated(beginning.copy(), task.recipe.passes, Clock())
        batches = [batch.feeds for batch in few(base.samples, JUDGED_ON, BATCH)]
        self.base, self.source = base, Session(base.source)
        self.trial = Trial(beginning, whole, batches, [self.source.run(feeds) for feeds in batches])

    def __call__(self, candidate: Candidate, known: Counterexamples) -> Tried:
        """What came of it. What a pass or the engine refuses is told; raises DataError, which no candidate mends."""
        start = time.perf_counter()
        tried = Tried(Outcome(candidate.said, candidate.word))
        try:
            tried = self._tried(candidate, known)
        except DataError:
            raise
        except OnnxqError as error:
            tried = replace(tried, outcome=replace(tried.outcome, problem=str(error)))
        return replace(tried, outcome=replace(tried.outcome, seconds=time.perf_counter() - start))

    def each(self, candidates: Sequence[Candidate], known: Counterexamples) -> Iterator[Tried]:
        """What came of each, as it is asked for."""
        for candidate in candidates:
            yield self(candidate, known)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Those of the model."""
        return self.base.samples.inputs

    @property
    def data(self) -> str:
        """What calibrates."""
        return self.base.samples.description

    def result(self, candidate: Candidate) -> BackendResult:
        """The graph of it, and all that came with it."""
        if self.made is None or self.made[0].word != candidate.word:
            self.made = candidate, self.trial.result(candidate.recipe)
        return self.made[1]

    def told(self, candidate: Candidate) -> Provenance:
        """Where its graph comes from: ``quantize`` with its recipe makes the same."""
        return told_of(self.trial.beginning, candidate.recipe, self.task.options, random=False)

    def rounded(self, recipe: Recipe) -> Workspace:
        """With all grids and integers, and the graph still float."""
        return rounded(*self.trial.ready(recipe))

    def _tried(self, candidate: Candidate, known: Counterexamples) -> Tried:
        result = self.result(candidate)
        graph = Session(result.runs, optimize=False)
        outcome = Outcome(candidate.said, candidate.word, noise=self._noise(graph), size=result.size_after)
        if (refusal := known.refusal(graph)) is not None:
            return Tried(replace(outcome, problem=refusal))
        value, int8 = self.task.measure(result)
        lost = self.task.measure.fp32 - value
        worst = tuple(found(self.source, graph, self._searched))
        noisiest = max((one.noise for one in worst), default=None)
        keeps = lost <= self.task.max_drop + ROUNDING
        return Tried(replace(outcome, value=value, lost=lost, int8=int8, keeps=keeps, worst=noisiest), worst)

    def _noise(self, graph: Session) -> float:
        heard = Heard()
        for feeds, wanted in zip(self.trial.batches, self.trial.wanted, strict=True):
            heard.add(wanted, graph.run(feeds))
        return heard.noise

    @cached_property
    def _searched(self) -> list[Feeds]:
        return [dict(batch.feeds) for batch in few(self.task.measure.tests, SEARCHED, 1)]
