"""What onnxq can do about it: each remedy is a change of the recipe, and is tried.

First each alone; then those that help, best first, on top of each other, as long as each still helps. Layers are left
in float last, and only where that brings much, since they then cost speed.
"""

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import is_

import onnx

from onnxq.backends.backend import Backend
from onnxq.clock import Clock
from onnxq.diagnosing.parts import Tensors
from onnxq.errors import OnnxqError
from onnxq.execute import Session
from onnxq.held_out import Heard
from onnxq.passes import (
    BalanceActivations,
    Calibrate,
    CorrectBias,
    EqualizeChannels,
    InsertQdq,
    PlanIntegers,
    RoundWeights,
)
from onnxq.planning.activation_bits import WIDE
from onnxq.recipe import RECIPES, Recipe
from onnxq.stages import Beginning, Calibrated, calibrated, finish
from onnxq.workspace import FloatRewrite, Pass, Workspace

Change = Callable[[Recipe], Recipe]
CALIBRATORS = ("mse", "minmax", "percentile", "entropy")
HELPS_DB = 0.3  # of less it cannot be told on a few samples whether it helps
GOOD = 1e-3  # noise over signal in power, 30 dB: hardly any answer changes, and nothing is left float for more
FLOAT_DB = 3.0  # what a layer in float has to bring: half of the noise


@dataclass(frozen=True)
class Remedy:
    """``said``: what it does, in words. ``costs``: integers, so that it comes last."""

    name: str
    said: str
    change: Change
    costs: bool = False


@dataclass(frozen=True)
class Tried:
    """What came of the remedies ``names``, on top of the recipe: the noise of the outputs, or why there is none."""

    names: tuple[str, ...]
    said: str
    noise: float | None
    seconds: float
    problem: str | None = None


def remedies(recipe: Recipe, backend: Backend, worst: Sequence[str]) -> tuple[Remedy, ...]:
    """Those that would change the ``recipe``; ``worst``: names of the noisiest layers."""
    rounds = [step for step in recipe.passes if isinstance(step, RoundWeights)]
    kinds = {type(step) for step in recipe.passes}
    found: list[Remedy] = []
    if backend.per_channel and any(not step.per_channel for step in rounds):
        found.append(Remedy("per_channel", "a grid for every output channel of a weight", _per_channel))
    if any(type(step) not in kinds for step in _rewrites()):
        said = "folding and equalizing: channels of neighbouring layers brought to one range"
        found.append(Remedy("equalize", said, _equalized))
    if BalanceActivations not in kinds:
        found.append(Remedy("balance", "activations balanced against the weights that read them", _balanced))
    for name in CALIBRATORS:
        if any(step.activations != name for step in recipe.passes if isinstance(step, Calibrate)):
            change = _option(Calibrate, activations=name, percentile=None)
            found.append(Remedy(f"calibrator {name}", f"ranges of activations chosen by {name}", change))
    if any(not step.solves for step in rounds):
        change = _option(RoundWeights, solver="coordinate_descent")
        found.append(Remedy("solver", "weights rounded by a solver, on what their layers read", change))
    if CorrectBias in kinds:
        found.append(Remedy("no bias correction", "biases left as they are", _uncorrected))
    else:
        found.append(Remedy("bias correction", "biases make up for the mean error", _corrected))
    if any(step.bits is not None and step.bits != 8 for step in rounds):
        found.append(Remedy("weights of 8 bits", "8 bits for all weights", _option(RoundWeights, bits=8)))
    if backend.wide is not None and worst:
        bits: dict[str, object] = {_exactly(name): WIDE for name in worst[:3]}
        change = _option(PlanIntegers, activation_bits=bits)
        said = f"{WIDE} bits for what {', '.join(worst[:3])} read"
        found.append(Remedy("more bits", said, change, costs=True))
    for count in (1, 3):
        if len(worst) >= count:
            said = f"{', '.join(worst[:count])} left in float"
            name = "worst layer float" if count == 1 else f"{count} worst layers float"
            found.append(Remedy(name, said, _float(worst[:count]), costs=True))
    return tuple(found)


def _rewrites() -> tuple[Pass, ...]:
    """The float rewrites of the default recipe, but for the balance of activations."""
    every = RECIPES["default"].passes
    return tuple(step for step in every if isinstance(step, FloatRewrite) and not isinstance(step, BalanceActivations))


def _per_channel(recipe: Recipe) -> Recipe:
    recipe = recipe.changed(RoundWeights, per_channel=True)
    for kind in (EqualizeChannels, BalanceActivations):
        if any(isinstance(step, kind) for step in recipe.passes):
            recipe = recipe.changed(kind, per_channel=True)
    return recipe


def _equalized(recipe: Recipe) -> Recipe:
    """Rewrites of the default recipe where they are missing, in its order, before all others."""
    own = {type(step): step for step in recipe.passes}
    per_channel = _is_per_channel(recipe)
    wanted = [own.get(type(step), step) for step in _rewrites()]
    wanted = [
        replace(step, per_channel=per_channel) if isinstance(step, EqualizeChannels) and type(step) not in own else step
        for step in wanted
    ]
    kinds = {type(step) for step in wanted}
    return replace(recipe, passes=(*wanted, *(step for step in recipe.passes if type(step) not in kinds)))


def _balanced(recipe: Recipe) -> Recipe:
    solves = any(step.solves for step in recipe.passes if isinstance(step, RoundWeights))
    step = BalanceActivations(solved=solves, per_channel=_is_per_channel(recipe))
    at = next(at for at, other in enumerate(recipe.passes) if isinstance(other, PlanIntegers))
    return replace(recipe, passes=(*recipe.passes[:at], step, *recipe.passes[at:]))


def _is_per_channel(recipe: Recipe) -> bool:
    return all(step.per_channel for step in recipe.passes if isinstance(step, RoundWeights))


def _corrected(recipe: Recipe) -> Recipe:
    at = next(at for at, step in enumerate(recipe.passes) if isinstance(step, InsertQdq))
    return replace(recipe, passes=(*recipe.passes[:at], CorrectBias(), *recipe.passes[at:]))


def _uncorrected(recipe: Recipe) -> Recipe:
    return replace(recipe, passes=tuple(step for step in recipe.passes if not isinstance(step, CorrectBias)))


def _option(kind: type[Pass], **options: object) -> Change:
    def changed(recipe: Recipe) -> Recipe:
        return recipe.changed(kind, **options)

    return changed


def _float(layers: Sequence[str]) -> Change:
    def changed(recipe: Recipe) -> Recipe:
        own = next(step for step in recipe.passes if isinstance(step, PlanIntegers)).exclude
        return recipe.changed(PlanIntegers, exclude=tuple(dict.fromkeys((*own, *map(_exactly, layers)))))

    return changed


def _exactly(name: str) -> str:
    """A regular expression for one node."""
    return f"^{re.escape(name)}$"


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
        result = finish(*self._ready(recipe))
        return result.stand_in or result.model

    def _ready(self, recipe: Recipe) -> tuple[Workspace, tuple[Pass, ...]]:
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
    time_left: Callable[[], bool],
    step: Callable[[int, int], None],
) -> Cure:
    """Try what is ``offered``, as long as there is time."""
    before = trial(recipe, (), "the recipe as it is")
    alone: dict[Remedy, Tried] = {}
    for done, remedy in enumerate(offered):
        step(done, len(offered))
        if time_left():
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
        if _same_kind(remedy, taken) or not time_left():
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
