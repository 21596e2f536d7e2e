"""A rewrite proves itself: the graph is run before and after it, and one that changed the function is undone, alone."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnxq.errors import ModelError
from onnxq.execute import Session
from onnxq.inputs import Array
from onnxq.samples import Samples
from onnxq.workspace import FloatRewrite, Subject, Workspace

SAMPLES = 4
RUNS = 40  # of a pass, to find which of its rewrites changed the function; then all that are suspected are undone


class Proof:
    """What the model answers on a few samples, to hold every rewrite against. Raises ModelError if it cannot run."""

    def __init__(self, model: onnx.ModelProto, samples: Samples) -> None:
        self._feeds: list[Mapping[str, Array]] = [batch.feeds for batch in samples.take(SAMPLES).batches(SAMPLES)]
        self._answers = self._run(model)

    def _run(self, model: onnx.ModelProto) -> list[dict[str, Array]]:
        session = Session(model)
        return [session.run(feeds) for feeds in self._feeds]

    def objection(self, model: onnx.ModelProto, tolerance: float) -> str | None:
        """Why ``model`` is not the same function, or None: some output differs by more than ``tolerance`` of its
        range, or cannot be computed."""
        try:
            pairs = list(zip(self._answers, self._run(model), strict=True))
        except ModelError as refusal:
            return str(refusal)
        names = self._answers[0] if self._answers else ()
        error = {name: max(relative_error(before[name], after[name]) for before, after in pairs) for name in names}
        allowed = {name: allowance(self._answers[0][name], tolerance) for name in names}
        worst = max(error, key=lambda name: error[name] / allowed[name], default=None)
        if worst is None or error[worst] <= allowed[worst]:
            return None
        return f"output {worst!r} differs by {error[worst]:.1e} of its range; {allowed[worst]:.0e} is allowed"


def allowance(answer: Array, tolerance: float) -> float:
    """The ``tolerance``, or what arithmetic in another order may cost in the dtype of the answer."""
    kind: Any = answer.dtype
    return max(tolerance, 2 * float(np.finfo(kind).eps)) if kind.kind in "fc" else tolerance


def relative_error(reference: Array, other: Array) -> float:
    """The largest difference over the range of ``reference``: 0 for equal arrays, infinite where shapes, integers, or
    the places of NaN and infinity differ."""
    if reference.shape != other.shape:
        return np.inf
    if np.array_equal(reference, other, equal_nan=reference.dtype.kind in "fc"):
        return 0.0
    finite = np.isfinite(reference)
    if reference.dtype.kind not in "fc" or not np.array_equal(reference[~finite], other[~finite], equal_nan=True):
        return np.inf
    before, after = reference[finite].astype(np.float64), other[finite].astype(np.float64)
    spread = float(np.ptp(before)) or float(np.abs(before).max())
    difference = float(np.abs(before - after).max())
    return difference / spread if spread > 0 and np.isfinite(difference) else np.inf


def rewrite_all(workspace: Workspace, steps: Sequence[FloatRewrite], proof: Proof) -> None:
    """Run the passes and prove them together, which costs one run; one after the other where that fails."""
    before, changed = workspace.fork(workspace.backend), False
    for done, step in enumerate(steps):
        workspace.progress("prepare", done, len(steps))
        if step(workspace):
            workspace.forget()
            changed = True
    workspace.progress("prepare", len(steps), len(steps))
    if changed and proof.objection(workspace.model(), min(step.tolerance for step in steps)) is not None:
        workspace.restore(before)
        for step in steps:
            rewrite(workspace, step, proof)


def rewrite(workspace: Workspace, step: FloatRewrite, proof: Proof | None = None) -> bool:
    """Run the pass; undo those of its rewrites that changed the function beyond its tolerance, and say so.

    Without a proof at hand the graph as it was is asked, if the pass changes anything.
    """
    before = workspace.fork(workspace.backend)
    if not step(workspace):
        return False
    proof = proof or Proof(before.model(), workspace.samples)
    said = proof.objection(workspace.model(), step.tolerance)
    changed = said is None or _Trial(workspace, before, step, proof).without_culprits(said)
    if changed:
        workspace.forget()
    return changed


@dataclass
class _Trial:
    """Runs a pass again and again with some of its rewrites barred, to find those that change the function."""

    workspace: Workspace
    before: Workspace
    step: FloatRewrite
    proof: Proof
    done: dict[Subject, str] = field(init=False)  # by the pass as it was
    runs: int = 0

    def __post_init__(self) -> None:
        made = self.workspace.rewritten.items() - self.before.rewritten.items()
        self.done = {subject: op for subject, op in self.workspace.rewritten.items() if (subject, op) in made}

    def without_culprits(self, said: str) -> bool:
        """Whether anything is left of the pass without the rewrites that are guilty of what is ``said``."""
        guilty = self._guilty(list(self.done), said)
        rest = self._objection(set(guilty)) if guilty and len(guilty) < len(self.done) else said
        if rest is not None:
            self.workspace.restore(self.before)
            self.workspace.barred = self.before.barred | self.done.keys()
        if rest is not None and not guilty:
            self.workspace.ledger.add("declined", self.step.name, "graph", f"undone: {said}")
        for subject, reason in guilty.items():
            self.workspace.ledger.add("declined", self.step.name, subject[1], f"undone: {reason}", self.done[subject])
        return rest is None

    def _guilty(self, suspects: Sequence[Subject], said: str) -> dict[Subject, str]:
        """Those of the suspects, which together change the function, that do so each alone, and how."""
        if len(suspects) <= 1 or self.runs >= RUNS:
            return dict.fromkeys(suspects, said)
        found: dict[Subject, str] = {}
        for half in (suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]):
            reason = self._objection(self.done.keys() - set(half))
            if reason is not None:
                found |= self._guilty(half, reason)
        return found

    def _objection(self, barred: Set[Subject]) -> str | None:
        """What is wrong with the pass without some of its rewrites."""
        self.runs += 1
        self.workspace.restore(self.before)
        self.workspace.barred = self.before.barred | barred
        changed = self.step(self.workspace)
        return self.proof.objection(self.workspace.model(), self.step.tolerance) if changed else None
