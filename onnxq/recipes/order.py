"""Whether the passes of a recipe can run in its order, told without a model."""

from collections.abc import Sequence

from onnxq.errors import RecipeError
from onnxq.passes import (
    PASSES,
    BalanceActivations,
    Calibrate,
    CorrectBias,
    EqualizeChannels,
    InsertQdq,
    PlanIntegers,
    RoundWeights,
)
from onnxq.planning.activation_bits import activation_widths
from onnxq.solving.widths import Widths
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


def disagreements(passes: Sequence[Pass]) -> list[str]:
    """A sentence for each option by which a pass goes by other integers than a later one makes. That is allowed, and
    seldom meant: on the command line one option tells all of them."""
    made: dict[str, tuple[object, str]] = {}
    for step in passes:
        if isinstance(step, RoundWeights):
            made["bits"] = (Widths.of(step.bits).usual, "round_weights: bits")
            made["per_channel"] = (step.per_channel, "round_weights: per_channel")
            made["solved"] = (step.solves, "round_weights: solver")
        if isinstance(step, PlanIntegers):
            made["activation_bits"] = (activation_widths(step.activation_bits).usual, "plan: activation_bits")
    return [
        f"{step.name}: {name} is {_yaml(getattr(step, name))}, and goes with {source}, which makes it {_yaml(value)}"
        for step in passes
        if isinstance(step, EqualizeChannels | BalanceActivations)
        for name, (value, source) in made.items()
        if getattr(step, name, value) != value
    ]


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).lower()


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
