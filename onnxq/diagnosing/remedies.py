"""What onnxq can do about it: each remedy is a change of the recipe."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from onnxq.backends.backend import Backend
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
from onnxq.workspace import FloatRewrite, Pass

Change = Callable[[Recipe], Recipe]
CALIBRATORS = ("mse", "minmax", "percentile", "entropy")


@dataclass(frozen=True)
class Remedy:
    """``said``: what it does, in words. ``costs``: integers, so that it comes last; ``grows``: so does the file."""

    name: str
    said: str
    change: Change
    costs: bool = False
    grows: bool = False


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
        change = _option(RoundWeights, bits=8)
        found.append(Remedy("weights of 8 bits", "8 bits for all weights", change, grows=True))
    if backend.wide is not None and worst:
        bits: dict[str, object] = {exactly(name): WIDE for name in worst[:3]}
        change = _option(PlanIntegers, activation_bits=bits)
        said = f"{WIDE} bits for what {', '.join(worst[:3])} read"
        found.append(Remedy("more bits", said, change, costs=True))
    for count in (1, 3):
        if len(worst) >= count:
            said = f"{', '.join(worst[:count])} left in float"
            name = "worst layer float" if count == 1 else f"{count} worst layers float"
            found.append(Remedy(name, said, partial(in_float, layers=worst[:count]), costs=True))
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


def in_float(recipe: Recipe, layers: Sequence[str]) -> Recipe:
    """The recipe with some nodes left in float, by name."""
    own = next(step for step in recipe.passes if isinstance(step, PlanIntegers)).exclude
    return recipe.changed(PlanIntegers, exclude=tuple(dict.fromkeys((*own, *map(exactly, layers)))))


def exactly(name: str) -> str:
    """A regular expression for one node."""
    return f"^{re.escape(name)}$"
