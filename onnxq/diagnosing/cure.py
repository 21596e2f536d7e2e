"""Remedies are tried: first each alone; then those that help, best first, on top of each other, as long as each still
helps. What costs integers comes last, and only where it brings much.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import is_

import onnx

from onnxq.clock import Clock
from onnxq.diagnosing.parts import Tensors
from onnxq.diagnosing.remedies import Remedy
from onnxq.errors import OnnxqError
from onnxq.execute import Session
from onnxq.held_out import Heard
from onnxq.recipe import Recipe
from onnxq.result import BackendResult
from onnxq.stages import Beginning, Calibrated, calibrated, finish
from onnxq.workspace import Pass, Workspace

HELPS_DB = 0.3  # of less it cannot be told on a few samples whether it helps
GOOD = 1e-3  # noise over signal in power, 30 dB: hardly any answer changes, and nothing is left float for more
FLOAT_DB = 3.0  # what a layer in float has to bring: half of the noise


@dataclass(frozen=True)
class Tried:
    """What came of the remedies ``names``, on top of the recipe: the noise of the outputs, or why there is none."""

    names: tuple[str, ...]
    said: str
    noise: float | None
    seconds: float
    problem: str | None = None


@dataclass
class Trial:
    """Runs recipes from one beginning; ``whole`` is how far the recipe given had come with calibration, and is taken
    where another begins alike."""

    beginning: Beginning
    whole: Calibrated
    batches: Sequence[Tensors]
    wanted: Sequence[Tensors]

    def __call__(self, recipe: Recipe, names: tuple[str, ...], said: str) -> Tried:
        """What came of it; what a pass refuses is told."""
        start = time.perf_counter()
        try:
            session, heard = Session(self.model(recipe), optimize=False), Heard()
            for feeds, wanted in zip(self.batches, self.wanted, strict=True):
                heard.add(wanted, session.run(feeds))
        except OnnxqError as error:
            return Tried(names, said, None, time.perf_counter() - start, str(error))
        return Tried(names, said, heard.noise, time.perf_counter() - start)

    def model(self, recipe: Recipe) -> onnx.ModelProto:
        """The graph that comes of it, as onnxruntime runs it."""
        return self.result(recipe).runs

    def result(self, recipe: Recipe) -> BackendResult:
        """All that comes of it."""
        return finish(*self.ready(recipe))

    def ready(self, recipe: Recipe) -> tuple[Workspace, tuple[Pass, ...]]:
        """A workspace that is calibrated, or about to be, and the passes to come."""
        done = self.whole.done
        if len(recipe.passes) >= len(done) and all(map(is_, recipe.passes, done)):
            return self.whole.copy().spaces[0], recipe.passes[len(done) :]
        ready = calibrated(self.beginning.copy(), recipe.passes, Clock())
        return ready.spaces[0], ready.rest


@dataclass(frozen=True)
class Cure:
    """``alone``: every remedy on its own. ``together``: the attempts to add one to another. ``names``: of those that
    are recommended, with their recipe and its noise."""

    before: Tried
    alone: tuple[Tried, ...]
    together: tuple[Tried, ...]
    names: tuple[str, ...]
    said: tuple[str, ...]
    recipe: Recipe
    noise: float | None
    untried: tuple[str, ...]


def cured(
    recipe: Recipe,
    offered: Sequence[Remedy],
    trial: Trial,
    left: Callable[[], float],
    step: Callable[[int, int], None],
) -> Cure:
    """Try what is ``offered``, as long as seconds are ``left``: as many as those that help took alone are kept for
    adding them up."""
    before = trial(recipe, (), "the recipe as it is")
    alone: dict[Remedy, Tried] = {}
    for done, remedy in enumerate(offered):
        step(done, len(offered))
        helping = [one.seconds for one in alone.values() if _better(one.noise, before.noise, HELPS_DB)]
        if left() > (sum(helping) if len(helping) > 1 else 0):
            alone[remedy] = trial(remedy.change(recipe), (remedy.name,), remedy.said)
    step(len(offered), len(offered))
    taken, together, best = list[Remedy](), list[Tried](), (recipe, before.noise)
    ranked = sorted(alone, key=lambda one: (one.costs, _noise_of(alone[one].noise)))
    for remedy in ranked:
        least = FLOAT_DB if remedy.costs else HELPS_DB
        if not remedy.costs and not _better(alone[remedy].noise, before.noise, HELPS_DB):
            continue
        if remedy.costs and _noise_of(best[1]) <= GOOD:
            continue
        if _same_kind(remedy, taken) or (taken and left() <= 0):  # what is measured already costs nothing
            continue
        changed = remedy.change(best[0])
        found = alone[remedy] if not taken else trial(changed, (*_names(taken), remedy.name), remedy.said)
        together += [found] if taken else []
        if _better(found.noise, best[1], least):
            taken, best = [*taken, remedy], (changed, found.noise)
    untried = tuple(remedy.name for remedy in offered if remedy not in alone)
    said = tuple(remedy.said for remedy in taken)
    return Cure(before, tuple(alone.values()), tuple(together), _names(taken), said, best[0], best[1], untried)


def _names(taken: Sequence[Remedy]) -> tuple[str, ...]:
    return tuple(remedy.name for remedy in taken)


def _same_kind(remedy: Remedy, taken: Sequence[Remedy]) -> bool:
    """Only one calibrator is chosen, and layers are left in float once."""
    kind = remedy.name.split()[0]
    return kind == "calibrator" and any(other.name.split()[0] == kind for other in taken)


def _better(noise: float | None, than: float | None, least_db: float) -> bool:
    return noise is not None and (than is None or noise < than * 10 ** (-least_db / 10))


def _noise_of(noise: float | None) -> float:
    return math.inf if noise is None else noise
