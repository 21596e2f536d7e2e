"""The order in which recipes are tried: what costs no speed, then as little as has to be left out of integers.

1. The recipe as it is, and if it keeps the accuracy, no more: all that can be in integers is.
2. Other calibrators, rewrites, solvers, with and without corrected biases, each alone; then those that bring the
   outputs closer to FP32 on top of each other, best first.
3. On the one of least noise: grids are measured one by one, and nodes are raised (to more bits, or float) so that a
   half, a quarter, ... of the noise is left, for as little work as can be, until the accuracy is kept.
4. Between that and the last that did not keep it, by halves; and at last single nodes are put back.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from onnxq.backends.backend import Backend
from onnxq.diagnosing.cure import HELPS_DB
from onnxq.diagnosing.remedies import Remedy, remedies
from onnxq.recipe import Recipe
from onnxq.tuning.attempts import Attempts
from onnxq.tuning.candidate import Candidate, Outcome
from onnxq.tuning.raising import Raise, chosen, raises
from onnxq.tuning.sensitivity import Sensitivity

LEVELS = tuple(2.0**-n for n in range(1, 7))  # of the noise, what is left
HALVINGS = 3
PUT_BACK = 4  # nodes that are tried, those with most work first

Measured = Callable[[Recipe], Sensitivity]


def search(recipe: Recipe, backend: Backend, attempt: Attempts, measured: Measured) -> None:
    """Try recipes as long as one may be better; ``attempt`` keeps the best. ``measured``: what grids of a recipe do."""
    begun = Candidate("the recipe as it is", recipe)
    if attempt([begun]) is not None:
        return
    least = _at_no_cost(begun, backend, attempt)
    if least is None or not attempt.time_left():
        return
    known = measured(least.recipe)
    for way in raises(least.recipe, backend):
        if _raised(least, way, known, attempt):
            return


def _at_no_cost(begun: Candidate, backend: Backend, attempt: Attempts) -> Candidate | None:
    """The one of least noise where none keeps the accuracy, None where one does."""
    offered = [one for one in remedies(begun.recipe, backend, ()) if not (one.costs or one.grows)]
    alone = {Candidate(one.said, one.change(begun.recipe)): one for one in offered}
    if attempt(list(alone)) is not None:
        return None
    before = _noise(attempt.outcome(begun))
    helping = [one for one in alone if _noise(attempt.outcome(one)) < before * 10 ** (-HELPS_DB / 10)]
    ranked = sorted(helping, key=lambda one: _noise(attempt.outcome(one)))
    together = _on_top(begun.recipe, [alone[one] for one in ranked])
    if attempt(together) is not None:
        return None
    return min([begun, *alone, *together], key=lambda one: _noise(attempt.outcome(one)))


def _on_top(recipe: Recipe, ranked: Sequence[Remedy]) -> list[Candidate]:
    """One more after the other, but of calibrators, of which there is one, the best."""
    found: list[Candidate] = []
    said, kinds = list[str](), set[str]()
    for one in ranked:
        kind = one.name.split()[0]
        if kind in kinds:
            continue
        kinds.add(kind)
        recipe, said = one.change(recipe), [*said, one.said]
        if len(said) > 1:
            found.append(Candidate("; ".join(said), recipe))
    return found


def _raised(base: Candidate, way: Raise, known: Sensitivity, attempt: Attempts) -> bool:
    """Whether some nodes raised keep the accuracy. From few nodes to many, and back as far as it goes."""
    total = sum(grid.noise for grid in known.grids)
    before = 1.0
    for level in LEVELS:
        nodes = chosen(known, way, level * total)
        if attempt([_with(base, way, nodes)]) is None:
            before = level
            if not attempt.time_left() or len(nodes) == len(known.work):
                return False
            continue
        for _ in range(HALVINGS):
            middle = math.sqrt(before * level)
            fewer = chosen(known, way, middle * total)
            if attempt([_with(base, way, fewer)]) is not None:
                level, nodes = middle, fewer
            else:
                before = middle
        _put_back(base, way, nodes, known, attempt)
        return True
    return False


def _put_back(base: Candidate, way: Raise, nodes: Sequence[str], known: Sensitivity, attempt: Attempts) -> None:
    """One node after the other as it was, the one with most work first."""
    for name in sorted(nodes, key=lambda name: -known.work[name])[:PUT_BACK]:
        fewer = [other for other in nodes if other != name]
        if fewer and attempt([_with(base, way, fewer)]) is not None:
            nodes = fewer


def _with(base: Candidate, way: Raise, nodes: Sequence[str]) -> Candidate:
    named = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
    said = f"{way.name} {named}"
    recipe = way.change(base.recipe, nodes)
    return replace(base, said=said, recipe=recipe)


def _noise(outcome: Outcome | None) -> float:
    return math.inf if outcome is None or outcome.noise is None else outcome.noise
