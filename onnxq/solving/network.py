"""The weights of a network, solved, where that brings its outputs closer to the float ones than rounding to nearest."""

from collections.abc import Sequence

import onnx

from onnxq.data.batches import Batch
from onnxq.errors import ModelError
from onnxq.few_samples import few
from onnxq.held_out import judged
from onnxq.passes.insert_qdq import InsertQdq
from onnxq.solving import Solver
from onnxq.solving.sequence import Floors, Rounded, Solved, solve_in_order
from onnxq.solving.solved_layer import STAGE
from onnxq.workspace import RoundedWeight, Workspace

FULL_BITS = 8  # from which on little is at stake: a look at few samples is enough
BATCH = 8
HELD_BYTES = 256 * 2**20  # of samples


def solved(workspace: Workspace, nearest: Rounded, floors: Floors, solver: Solver, samples: int | None) -> list[Solved]:
    """Weights to take in place of the ``nearest``: all that were solved, or none."""
    full = all(weight.params.scheme.bits >= FULL_BITS for weight in nearest.values())
    # Of so many batches one judges: with few bits it takes few samples to see whether solving helps.
    count, every = (72, 3) if full else (256, 8)
    batches = few(workspace.samples, samples or count, BATCH, HELD_BYTES)
    judging = batches[every - 1 :: every]
    solving = [batch for at, batch in enumerate(batches) if at % every != every - 1] if judging else batches
    try:
        graphs = workspace.model(), with_integers(workspace, nearest)
        found = solve_in_order(workspace, graphs, nearest, floors, solver, solving, _columns)
        chosen = {**nearest, **{one.weight: one.rounded for one in found}}
        helps = not found or _helps(workspace, *graphs, with_integers(workspace, chosen), judging or solving)
    except ModelError as refusal:
        reason = f"its weights are rounded to nearest: it cannot be run part by part: {refusal}"
        workspace.ledger.add("declined", STAGE, "graph", reason)
        return []
    if not helps:
        return []
    for one in found:
        _tell(workspace, one)
    return found


def _columns(weight: RoundedWeight, block: int) -> int:
    """With weights of 4 bits resnet20's outputs are 1 dB closer to the float ones than with a quarter as many, and
    yolox_nano's, of small layers, 0.2 dB."""
    return max(2**12, 16 * block) if weight.params.scheme.bits >= FULL_BITS else max(2**14, 64 * block)


def with_integers(workspace: Workspace, weights: Rounded) -> onnx.ModelProto:
    """The graph with Q/DQ, as no backend has changed it yet."""
    made = workspace.fork(workspace.backend)
    made.weights, made.activations = dict(weights), workspace.activations
    InsertQdq("never")(made)
    return made.model()


def _helps(
    workspace: Workspace,
    reference: onnx.ModelProto,
    nearest: onnx.ModelProto,
    chosen: onnx.ModelProto,
    judging: Sequence[Batch],
) -> bool:
    """Whether the outputs come closer to the float ones; the ledger is told."""
    verdict = judged(reference, nearest, chosen, judging)
    if verdict.helps:
        said = f"weights solved rather than rounded to nearest: {verdict.said}"
        workspace.ledger.add("changed", STAGE, "graph", said)
    else:
        reason = f"undone: weights are rounded to nearest, since solving them does not help: {verdict.said}"
        workspace.ledger.add("declined", STAGE, "graph", reason)
    return verdict.helps


def _tell(workspace: Workspace, one: Solved) -> None:
    reason = "its integers make up for what is rounded before it, and for each other"
    detail = f"{100 * one.error:.3g} % of the square error of the nearest, {100 * one.clipped:.2g} % clipped"
    workspace.ledger.add("changed", STAGE, one.weight.layer, reason, one.op, detail)
