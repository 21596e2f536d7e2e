"""The weights of a network, solved, where that brings its outputs closer to the float ones than rounding to nearest."""

import math
from collections.abc import Sequence

from onnxq.data.batches import Batch
from onnxq.errors import ModelError
from onnxq.few_samples import few
from onnxq.held_out import noise
from onnxq.solving import Solver
from onnxq.solving.sequence import NAME, Floors, Rounded, Solved, solve_in_order, with_integers
from onnxq.workspace import RoundedWeight, Workspace

FULL_BITS = 8  # from which on little is at stake: a look at few samples is enough
BATCH = 8
JUDGES = 5  # of so many batches one judges


def solved(workspace: Workspace, nearest: Rounded, floors: Floors, solver: Solver, samples: int | None) -> list[Solved]:
    """Weights to take in place of the ``nearest``: all that were solved, or none."""
    full = all(weight.params.scheme.bits >= FULL_BITS for weight in nearest.values())
    batches = few(workspace.samples, samples or (32 if full else 256), BATCH)
    judging = batches[JUDGES - 1 :: JUDGES]
    solving = [batch for at, batch in enumerate(batches) if at % JUDGES != JUDGES - 1] if judging else batches
    try:
        found = solve_in_order(workspace, nearest, floors, solver, solving, _density)
        chosen = {**nearest, **{one.weight: one.rounded for one in found}}
        helps = not found or _helps(workspace, nearest, chosen, judging or solving)
    except ModelError as refusal:
        reason = f"its weights are rounded to nearest: it cannot be run part by part: {refusal}"
        workspace.ledger.add("declined", NAME, "graph", reason)
        return []
    if not helps:
        return []
    for one in found:
        _tell(workspace, one)
    return found


def _density(weight: RoundedWeight) -> int:
    """With weights of 4 bits resnet20's outputs are 1 dB closer to the float ones than with a quarter as many."""
    return 16 if weight.params.scheme.bits >= FULL_BITS else 64


def _helps(workspace: Workspace, nearest: Rounded, chosen: Rounded, judging: Sequence[Batch]) -> bool:
    """Whether the outputs come closer to the float ones; the ledger is told."""
    graphs = [with_integers(workspace, weights) for weights in (nearest, chosen)]
    before, after = noise(workspace.model(), graphs, [batch.feeds for batch in judging])
    said = f"SQNR of the outputs {_db(before)} -> {_db(after)} dB on {sum(batch.count for batch in judging)} samples"
    if after < before:
        workspace.ledger.add("changed", NAME, "graph", f"weights solved rather than rounded to nearest: {said}")
        return True
    if not math.isfinite(before):
        said = "no output can be compared on the samples, being zero, infinite, integer or of changing shape"
    reason = f"undone: weights are rounded to nearest, since solving them does not help: {said}"
    workspace.ledger.add("declined", NAME, "graph", reason)
    return False


def _tell(workspace: Workspace, one: Solved) -> None:
    name = min(name for name, _ in one.weight.readers)
    reason = "its integers make up for what is rounded before it, and for each other"
    detail = f"{100 * one.error:.3g} % of the square error of the nearest, {100 * one.clipped:.2g} % clipped"
    workspace.ledger.add("changed", NAME, name, reason, one.op, detail)


def _db(noise: float) -> str:
    return f"{-10 * math.log10(noise):.1f}" if noise > 0 else "inf"
