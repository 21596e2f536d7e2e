"""What each pass brings: the recipe is run again without it, and both graphs answer the same questions.

Only passes that a quantized graph can do without are left out; a backend's own preparation and lowering stay. Graphs
are judged in simulation, against the answers the FP32 model gave once, and no engine is built.
"""

from collections.abc import Mapping
from dataclasses import replace
from operator import is_

import onnx

from onnxq.clock import Clock
from onnxq.errors import OnnxqError, RecipeError
from onnxq.judge import Judge
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.recipe import Recipe
from onnxq.result import BackendResult, Judged
from onnxq.stages import Beginning, Calibrated, calibrated, finish
from onnxq.variants import Ablation, Outcome, Variant
from onnxq.workspace import Pass, Progress

NEEDED = (PlanIntegers, Calibrate, RoundWeights, InsertQdq)


def optional(recipe: Recipe) -> tuple[str, ...]:
    """Names of the passes that can be left out, each once. Raises RecipeError if there is none."""
    found = tuple(dict.fromkeys(step.name for step in recipe.passes if not isinstance(step, NEEDED)))
    if not found:
        needed = ", ".join(kind.name for kind in NEEDED)
        raise RecipeError(f"recipe: nothing to leave out (--ablate, ablate=): a quantized graph needs {needed}.")
    return found


def ablate(
    recipe: Recipe,
    beginning: Beginning,
    whole: Calibrated,
    results: Mapping[str, BackendResult],
    judge: Judge,
    progress: Progress,
) -> Ablation:
    """The table for a ``recipe`` whose ``results`` are known; ``whole`` is how far it had come with calibration.

    A variant that cannot be run has its reason in the table. ``beginning`` and ``whole`` are not used up.
    """
    names = optional(recipe)
    judged = {name: entry.judged or judge.simulated(entry) for name, entry in results.items()}
    full = {name: _outcome(entry, judged[name], whole.seconds) for name, entry in results.items()}
    variants = [Variant((), full)]
    for without in (*((name,) for name in names), *([names] if len(names) > 1 else [])):
        stage, total = f"without {without[0] if len(without) == 1 else 'any of them'}", 1 + len(results)
        progress(stage, 0, total)
        ready = _calibrated(beginning, whole, tuple(step for step in recipe.passes if step.name not in without))
        found = {}
        for done, (name, result) in enumerate(results.items()):
            progress(stage, 1 + done, total)
            found[name] = _compared(_finished(ready[name], result, full[name], judge), full[name])
        progress(stage, total, total)
        variants.append(Variant(without, found))
    first = next(iter(judged.values()))
    metric, unit = (first.scores.metric, first.scores.unit) if first.scores is not None else ("", "")
    return Ablation(first.samples, metric, unit, tuple(variants))


def _calibrated(beginning: Beginning, whole: Calibrated, passes: tuple[Pass, ...]) -> dict[str, Calibrated | str]:
    """How far each backend came with the passes, or what stopped it; taken from ``whole`` where that did the same."""
    if len(passes) >= len(whole.done) and all(map(is_, passes, whole.done)):
        return dict(replace(whole.copy(), rest=passes[len(whole.done) :]).alone())
    found: dict[str, Calibrated | str] = {}
    try:
        found |= calibrated(beginning.copy(), passes, Clock()).alone()
    except Exception as error:
        if len(beginning.backends) == 1:
            return {beginning.backends[0].name: _reason(error)}
        for one in beginning.alone():  # what stops one backend need not stop another
            found |= _calibrated(one, whole, passes)
    return found


def _finished(ready: Calibrated | str, known: BackendResult, full: Outcome, judge: Judge) -> Outcome:
    """What came of one backend's variant. The graph of the whole recipe is ``known``, and not judged again."""
    if isinstance(ready, str):
        return Outcome(problem=ready)
    try:
        result = finish(ready.spaces[0], ready.rest)
        if _bytes(result.model) == _bytes(known.model):
            return replace(full, seconds=ready.seconds + result.seconds, same_graph=True)
        return _outcome(result, judge.simulated(result), ready.seconds)
    except Exception as error:
        return Outcome(problem=_reason(error))


def _outcome(result: BackendResult, judged: Judged, seconds: float) -> Outcome:
    likeness = min((like.sqnr_db for like in judged.graph), default=None)
    score = judged.scores.graph if judged.scores is not None else None
    return Outcome(likeness, score, len(result.model.graph.node), seconds + result.seconds)


def _compared(outcome: Outcome, full: Outcome) -> Outcome:
    brought = _difference(full.sqnr_db, outcome.sqnr_db), _difference(full.score, outcome.score)
    return replace(outcome, brought_db=brought[0], brought=brought[1])


def _difference(whole: float | None, without: float | None) -> float | None:
    if whole is None or without is None:
        return None
    return 0.0 if whole == without else whole - without  # also where both are infinite


def _bytes(model: onnx.ModelProto) -> bytes:
    written: bytes = model.SerializeToString(deterministic=True)
    return written


def _reason(error: Exception) -> str:
    """A pass, which may be the user's own, may rely on one that is left out in ways of its own: no traceback, since
    all other variants are yet to come."""
    return str(error) if isinstance(error, OnnxqError) else f"{type(error).__name__}: {error}"
