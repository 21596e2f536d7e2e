"""Whether the passes of a recipe can run in its order, told without a model."""

from collections.abc import Sequence

from onnxq.errors import RecipeError
from onnxq.passes import PASSES, Calibrate, CorrectBias, InsertQdq, PlanIntegers, RoundWeights
from onnxq.workspace import Pass


def check_passes(passes: Sequence[Pass]) -> None:
    """Raises RecipeError for a pass of ours that comes before one it needs, or is wanted and not there. A pass of the
    user's own may do what ours do, so nothing is said of what comes behind one."""
    done: set[type[Pass]] = set()
    for step in passes:
        if type(step) not in PASSES.values():
            return
        for needed in _needed(step, done):
            raise RecipeError(f"{step.name!r} runs before {needed.name!r}. Put {needed.name!r} before it.")
        if isinstance(step, CorrectBias) and InsertQdq in done:
            raise RecipeError("'correct_bias' has to come before 'insert_qdq'.")
        done.add(type(step))
        if isinstance(step, PlanIntegers) and not step.activations:
            done.add(Calibrate)  # it has nothing to choose
    if InsertQdq not in done:
        raise RecipeError("it leaves the graph without integers. End it with 'insert_qdq'.")


def _needed(step: Pass, done: set[type[Pass]]) -> list[type[Pass]]:
    """What must be done before ``step`` and is not."""
    needs: list[type[Pass]] = []
    if isinstance(step, Calibrate | RoundWeights | InsertQdq):
        needs = [PlanIntegers]
    if isinstance(step, InsertQdq) or (isinstance(step, RoundWeights) and step.solves):
        needs += [Calibrate]
    if isinstance(step, CorrectBias):
        needs = [PlanIntegers, Calibrate, RoundWeights]
    return [kind for kind in needs if kind not in done]
