"""The stages of a recipe, each a function from one value to the next.

a beginning ─▶ calibrated, for all backends together ─▶ finished, for each of them
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxq.backends.backend import Backend
from onnxq.clock import Clock
from onnxq.delivery import deliver
from onnxq.errors import RecipeError
from onnxq.graph import every_node
from onnxq.moment_turns import beside_statistics
from onnxq.outside import complete, total_bytes
from onnxq.passes import Calibrate, CorrectBias, InsertQdq, RoundWeights
from onnxq.passes.calibrate import collect
from onnxq.portrait import portrait
from onnxq.proof import Proof, rewrite, rewrite_all
from onnxq.result import BackendResult
from onnxq.statistics import TensorStatistics
from onnxq.watching import Values, Watcher
from onnxq.workspace import FloatRewrite, Pass, Workspace


@dataclass(frozen=True)
class Beginning:
    """What any recipe for one model and some backends begins with: the graph and the samples in ``base``, the backends
    as they were asked for and as this CPU needs them, what the float model answers, and its fingerprint."""

    base: Workspace
    asked: tuple[Backend, ...]
    backends: tuple[Backend, ...]
    proof: Proof
    mark: str = ""

    def copy(self) -> "Beginning":
        """For another recipe: a stage changes the workspaces that it is given."""
        return replace(self, base=self.base.copy())

    def alone(self) -> list["Beginning"]:
        """One for each backend."""
        pairs = zip(self.asked, self.backends, strict=True)
        return [replace(self, base=self.base.fork(own), asked=(asked,), backends=(own,)) for asked, own in pairs]


@dataclass(frozen=True)
class Calibrated:
    """A workspace for each backend, with what the samples told of its tensors; the passes that are done, and those to
    come; and the seconds so far."""

    spaces: tuple[Workspace, ...]
    done: tuple[Pass, ...]
    rest: tuple[Pass, ...]
    seconds: float

    def copy(self) -> "Calibrated":
        """For other passes to come: a stage changes the workspaces that it is given."""
        return replace(self, spaces=tuple(space.copy() for space in self.spaces))

    def alone(self) -> dict[str, "Calibrated"]:
        """By backend."""
        return {space.backend.name: replace(self, spaces=(space,)) for space in self.spaces}


def calibrated(beginning: Beginning, passes: tuple[Pass, ...], clock: Clock) -> Calibrated:
    """Prepare, plan and calibrate for all backends, with one pass over the samples."""
    start = time.perf_counter()
    shared, own = _split(passes)
    with clock("prepare"):
        rewrite_all(beginning.base, shared, beginning.proof)
    with clock("calibrate"):
        spaces = [beginning.base.fork(entry) for entry in beginning.backends]
        _tell_reduced_range(spaces, beginning.asked)
        _calibrate_once(spaces, own)
    done = passes[: len(passes) - len(own)]
    return Calibrated(tuple(spaces), done, tuple(own), time.perf_counter() - start)


def _split(passes: tuple[Pass, ...]) -> tuple[list[FloatRewrite], list[Pass]]:
    """Float rewrites at the start serve every backend; what follows is done for each."""
    shared: list[FloatRewrite] = []
    for step in passes:
        if not isinstance(step, FloatRewrite):
            break
        shared.append(step)
    return shared, list(passes[len(shared) :])


def _tell_reduced_range(spaces: Sequence[Workspace], asked: Sequence[Backend]) -> None:
    for space, entry in zip(spaces, asked, strict=True):
        if space.backend is not entry:
            reason = f"weights have {space.backend.weight.bits} bits, since sums of u8 x s8 may saturate (reduce range)"
            space.ledger.add("changed", "plan", "graph", reason)


def run(space: Workspace, step: Pass) -> bool:
    """One pass; a float rewrite must prove that it kept the function."""
    check_order(space, step)
    if isinstance(step, FloatRewrite):
        return rewrite(space, step)
    return step(space)


def check_order(space: Workspace, step: Pass) -> None:
    """Raises RecipeError for a pass that comes before those it needs; who made the plan does not matter."""
    planned = space.plan.activations.keys()
    if isinstance(step, Calibrate | RoundWeights | InsertQdq) and not space.plan.weights:
        raise RecipeError(f"recipe: nothing is planned when {step.name!r} runs. Put 'plan' before it.")
    if isinstance(step, CorrectBias) and not (space.weights and planned <= space.activations.keys()):
        raise RecipeError(f"recipe: {step.name!r} corrects what rounding does. Put 'round_weights' before it.")
    if isinstance(step, CorrectBias) and any(node.op == "DequantizeLinear" for node in space.graph.nodes):
        raise RecipeError(f"recipe: {step.name!r} has to come before 'insert_qdq'.")
    needs_grids = isinstance(step, InsertQdq) or (isinstance(step, RoundWeights) and step.solves)
    if needs_grids and (bare := sorted(planned - space.activations.keys())):
        raise RecipeError(f"recipe: {bare[0]!r} has no grid when {step.name!r} runs. Put 'calibrate' before it.")


def _calibrate_once(spaces: Sequence[Workspace], steps: list[Pass]) -> None:
    """Run every backend up to its calibration, then watch for all of them in one pass over the samples."""
    at = next((i for i, step in enumerate(steps) if isinstance(step, Calibrate)), None)
    if at is None:
        return
    for space in spaces:
        for step in (*space.backend.preparation, *steps[:at]):
            run(space, step)
        check_order(space, steps[at])
    calibrate = steps[at]
    assert isinstance(calibrate, Calibrate)
    wanted = [_wanted(calibrate, space) for space in spaces]
    histogram = calibrate.calibrator().histogram or any(_everything(space) for space in spaces)
    alike = frozenset[str]().union(*(tensors for tensors, _ in wanted))
    others: set[Watcher[Any]] = {*beside_statistics(spaces, steps[at:])}.union(*(found.values() for _, found in wanted))
    known: dict[str, TensorStatistics] = {}
    kept: dict[Watcher[Any], Any] = {}
    # The graph with most tensors, prepared for its backend, mostly has those of all the others.
    for space in sorted(spaces, key=lambda space: -len(space.graph.nodes)):
        space.statistics, space.kept = known, kept
        tensors = space.graph.tensors().keys()
        here = {watcher for watcher in others if watcher.tensor in tensors}
        collect(space, alike & tensors, histogram, here)
    del steps[:at]


def _everything(space: Workspace) -> bool:
    return space.record is not None and space.record.everything


def _wanted(calibrate: Calibrate, space: Workspace) -> tuple[frozenset[str], dict[str, Values]]:
    """The tensors to watch, and watchers that weigh their readers: those of this calibrator, or of all there are."""
    if not _everything(space):
        return calibrate.watched(space)
    return space.plan.watched, Calibrate("auto").watched(space)[1]


def finish(space: Workspace, steps: Sequence[Pass], portrayed: bool = False) -> BackendResult:
    """The remaining passes, the backend's lowering, and what came of it; ``portrayed``: with what a report draws."""
    start = time.perf_counter()
    side_file, delivery, drawn = space.backend.side_file, None, None
    for step in steps:
        if portrayed and isinstance(step, InsertQdq) and drawn is None:  # the last one who sees float weights
            drawn = portrait(space)
        if side_file is not None and isinstance(step, InsertQdq) and delivery is None:
            check_order(space, step)
            delivery = deliver(space, space.graph.copy(), side_file)
        run(space, step)
    if all(node.op != "DequantizeLinear" for node in space.graph.nodes):
        raise RecipeError("recipe: it leaves the graph without integers. End it with 'insert_qdq'.")
    for step in space.backend.lowering:
        run(space, step)
    ops = {node.name: node.op for node in every_node(space.graph)}
    if not space.plan.activations:
        reason = "weights only: they are stored as integers, and every layer computes in float"
        space.ledger.add("warning", "plan", "graph", reason)
    for name, reason in space.plan.floats.items():
        space.ledger.add("float", "plan", name, reason, ops.get(name, ""))
    model = complete(space.model())
    return BackendResult(
        space.backend.name,
        space.backend.title,
        model,
        space.plan,
        space.ledger,
        space.activations,
        space.weights,
        total_bytes(space.source),
        total_bytes(model),
        simulated=space.backend.simulated,
        delivery=delivery,
        stand_in=space.stand_in,
        seconds=time.perf_counter() - start,
        solved=space.solved,
        portrait=drawn,
    )
