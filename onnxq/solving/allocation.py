"""The bits of every layer's weights: fixed, or of a budget that is spent where it spares the outputs most.

Errors of several layers are taken to add up in power at the outputs, as independent noises do.
"""

import math
from collections.abc import Sequence

from onnxq.graph import is_constant
from onnxq.moment_turns import LIMIT
from onnxq.plan import Weight
from onnxq.solving.budget import average, split
from onnxq.solving.effects import Rounded, effects
from onnxq.solving.ends import first_layers, last_layers
from onnxq.solving.widths import ENDS, Width, Widths
from onnxq.workspace import Workspace

STAGE = "round_weights"
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
            workspace.ledger.add("changed", STAGE, _name(weight), reason, detail=f"{bits} bits")
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
        workspace.ledger.add("declined", STAGE, _name(weight), f"its bits are {INSIDE}", detail=f"{width.bits} bits")
    outside = [weight for weight in free if weight not in found]
    measured = list(effects(workspace, outside, choices, budget, rounded, limit))
    if not measured:
        workspace.ledger.add("warning", STAGE, "graph", f"bits: nothing is left for the budget of {budget:g}")
        return found
    sizes = [one.size for one in measured]
    chosen = split([one.by_bits for one in measured], sizes, budget)
    total = sum(one.by_bits[bits] for one, bits in zip(measured, chosen, strict=True))
    for one, bits in zip(measured, chosen, strict=True):
        said = f"{100 * one.by_bits[bits] / (total or 1):.1f} % of the error that is predicted for the outputs"
        found[one.weight] = Width(bits, f"chosen by the budget, {said}")
        reason = f"the bits of its weights are chosen by the budget of {budget:g}"
        workspace.ledger.add("changed", STAGE, _name(one.weight), reason, detail=f"{bits} bits, {said}")
    reason = (
        f"of a budget of {budget:g} bits {average(chosen, sizes):.3f} are spent, the average over {sum(sizes):,} "
        f"weights of {len(chosen)} layers; their rounding alone should leave the outputs an SQNR of {_db(total)} dB"
    )
    workspace.ledger.add("changed", STAGE, "graph", reason)
    return found


def _name(weight: Weight) -> str:
    return min(name for name, _ in weight.readers)


def _db(noise: float) -> str:
    return f"{-10 * math.log10(noise):.1f}" if noise > 0 else "inf"
