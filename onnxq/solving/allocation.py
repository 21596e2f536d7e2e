"""The bits of every layer's weights: fixed, or of a budget that is spent where it spares the outputs most.

Errors of several layers are taken to add up in power at the outputs, as independent noises do. A budget is split by
what is known of each layer (see ``effects``), then measured with the bits that it got, and split again, until all
layers are measured with the bits that they have.
"""

import math
from collections.abc import Sequence

from onnxq.errors import RecipeError
from onnxq.graph import is_constant
from onnxq.held_out import decibels
from onnxq.moment_turns import LIMIT
from onnxq.plan import Weight
from onnxq.solving.budget import average, split
from onnxq.solving.effects import Effect, Rounded, effects
from onnxq.solving.ends import first_layers, last_layers
from onnxq.solving.output_noise import OutputNoise
from onnxq.solving.solved_layer import STAGE
from onnxq.solving.widths import ENDS, Width, Widths
from onnxq.workspace import Workspace

TURNS = 6  # of splitting a budget: widths that are chosen once are measured, so few are new after two or three
INSIDE = "the backend's own: what a layer in a body of If, Loop or Scan does to the outputs is not measured"


def bits_of(workspace: Workspace, widths: Widths, rounded: Rounded, limit: int = LIMIT) -> dict[Weight, Width]:
    """Of every planned weight. What is fixed or chosen, and why, is told to the ledger.

    By what ``rounded`` gives a budget is spent, and without one it is not called; second moments take ``limit`` bytes.
    Raises RecipeError where a budget cannot be kept, or no output of the model tells how to spend it.
    """
    fixed = _fixed(workspace, widths)
    free = [weight for weight in workspace.plan.weights if weight not in fixed]
    if widths.budget is None:
        found = {weight: Width(widths.default or weight.scheme.bits) for weight in free}
    else:
        found = _within(widths.budget, workspace, free, widths.choices, rounded, limit)
    return {weight: {**fixed, **found}[weight] for weight in workspace.plan.weights}


def _fixed(workspace: Workspace, widths: Widths) -> dict[Weight, Width]:
    layers = workspace.plan.nodes if widths.fixed else frozenset()
    ends = dict(zip(ENDS, (find(workspace.graph, layers) for find in (first_layers, last_layers)), strict=True))
    found: dict[Weight, Width] = {}
    fitting, counting = set(), set()
    for weight in workspace.plan.weights:
        entries = widths.fitting([name for name, _ in weight.readers], ends)
        fitting |= {key for key, _ in entries}
        for key, bits in entries[:1]:
            counting.add(key)
            found[weight] = Width(bits, f"fixed by {key!r}")
            reason = f"the bits of its weights are fixed by {key!r}"
            workspace.ledger.add("changed", STAGE, weight.layer, reason, detail=f"{bits} bits")
    for key, _ in widths.fixed:
        if key not in counting:
            only = "only layers that an entry before it fits" if key in fitting else "no layer that has integer weights"
            workspace.ledger.add("warning", STAGE, key, f"bits: {key!r} fits {only}")
    return found


def _within(
    budget: float, workspace: Workspace, free: Sequence[Weight], choices: Sequence[int], rounded: Rounded, limit: int
) -> dict[Weight, Width]:
    constants = {name for name, tensor in workspace.graph.tensors().items() if is_constant(tensor)}
    found = {weight: Width(weight.scheme.bits, INSIDE) for weight in free if weight.tensor not in constants}
    for weight, width in found.items():
        workspace.ledger.add("declined", STAGE, weight.layer, f"its bits are {INSIDE}", detail=f"{width.bits} bits")
    outside = [weight for weight in free if weight not in found]
    if not outside:
        workspace.ledger.add("warning", STAGE, "graph", f"bits: nothing is left for the budget of {budget:g}")
        return found
    known = list(effects(workspace, outside, choices, rounded, limit))
    noise = OutputNoise(workspace, [one.weight.tensor for one in known])
    sizes, chosen = [one.size for one in known], _settled(workspace, budget, known, noise)
    shares = [one.by_bits()[bits] for one, bits in zip(known, chosen, strict=True)]
    total = sum(shares)
    for one, bits, share in zip(known, chosen, shares, strict=True):
        said = f"{100 * share / (total or 1):.1f} % of the error that is predicted for the outputs"
        found[one.weight] = Width(bits, f"chosen by the budget, {said}")
        reason = f"the bits of its weights are chosen by the budget of {budget:g}"
        workspace.ledger.add("changed", STAGE, one.weight.layer, reason, detail=f"{bits} bits, {said}")
    together = noise({one.weight.tensor: one.values(bits) for one, bits in zip(known, chosen, strict=True)})
    reason = (
        f"of a budget of {budget:g} bits {average(chosen, sizes):.3f} are spent, the average over {sum(sizes):,} "
        f"weights of {len(chosen)} layers; by their rounding alone the outputs have an SQNR of "
        f"{decibels(together)} dB, by the sum of what each does {decibels(total)} dB"
    )
    workspace.ledger.add("changed", STAGE, "graph", reason)
    return found


def _settled(workspace: Workspace, budget: float, known: Sequence[Effect], noise: OutputNoise) -> list[int]:
    """The bits of each weight, all of them measured with these."""
    chosen = [one.nearest(budget) for one in known]
    for turn in range(TURNS):
        for done, (one, bits) in enumerate(zip(known, chosen, strict=True)):
            workspace.progress("split bits", turn * len(known) + done, None)
            if not math.isfinite(one.measure(bits, noise)):
                reason = "on the samples no float output is finite, of one shape, and not zero"
                raise RecipeError(
                    f"bits: what {bits} bits in {one.weight.tensor!r} do to the outputs cannot be measured: {reason}. "
                    "Give bits without a budget."
                )
        before, chosen = chosen, split([one.by_bits() for one in known], [one.size for one in known], budget)
        if chosen == before:
            break
    return chosen
