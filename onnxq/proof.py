"""A rewrite proves itself: the graph is run before and after it, and one that changed the function is undone."""

from collections.abc import Mapping

import numpy as np
import onnx

from onnxq.errors import ModelError
from onnxq.execute import Session
from onnxq.inputs import Array
from onnxq.model import export
from onnxq.samples import Samples
from onnxq.workspace import FloatRewrite, Workspace

SAMPLES = 4


def sqnr_db(reference: Array, other: Array) -> float:
    """Signal over error in dB: infinite for equal arrays; NaN and infinity must stand in the same places."""
    if reference.shape != other.shape:
        return -np.inf
    if np.array_equal(reference, other, equal_nan=reference.dtype.kind in "fc"):
        return np.inf
    if reference.dtype.kind not in "fc":
        return -np.inf
    finite = np.isfinite(reference)
    if not np.array_equal(finite, np.isfinite(other)):
        return -np.inf
    signal = reference[finite].astype(np.float64)
    noise = signal - other[finite].astype(np.float64)
    power, error = float(np.sum(signal**2)), float(np.sum(noise**2))
    return float(10 * np.log10(power / error)) if power > 0 and error > 0 else (np.inf if error == 0 else -np.inf)


class Proof:
    """What the model answers on a few samples, to hold every rewrite against. Raises ModelError if it cannot run."""

    def __init__(self, model: onnx.ModelProto, samples: Samples) -> None:
        self._feeds: list[Mapping[str, Array]] = [batch.feeds for batch in samples.take(SAMPLES).batches(SAMPLES)]
        self._answers = self._run(model)

    def _run(self, model: onnx.ModelProto) -> list[dict[str, Array]]:
        session = Session(model)
        return [session.run(feeds) for feeds in self._feeds]

    def sqnr_db(self, model: onnx.ModelProto) -> float:
        """The least SQNR of any output of ``model`` against the answers, in dB."""
        pairs = zip(self._answers, self._run(model), strict=True)
        return min((sqnr_db(before[name], after[name]) for before, after in pairs for name in before), default=np.inf)


def rewrite(workspace: Workspace, step: FloatRewrite, proof: Proof | None = None) -> bool:
    """Run the pass; undo it, and say so, where the function changed beyond the pass's tolerance.

    Without a proof at hand the graph as it was is asked, if the pass changes anything.
    """
    graph, ledger = workspace.graph.copy(), workspace.ledger.copy()
    if not step(workspace):
        return False
    try:
        proof = proof or Proof(export(graph, workspace.source), workspace.samples)
        found = proof.sqnr_db(workspace.model())
        reason = f"outputs differ ({found:.0f} dB; {step.tolerance_db:.0f} dB wanted)"
    except ModelError as error:
        found, reason = -np.inf, str(error)
    if found >= step.tolerance_db:
        workspace.statistics = {}  # a tensor may keep its name and change its values
        return True
    workspace.graph, workspace.ledger = graph, ledger
    ledger.add("declined", step.name, "graph", f"undone: {reason}")
    return False
