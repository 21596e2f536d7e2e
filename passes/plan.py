"""Decide what becomes integer for the backend, and with how many bits, without changing the graph."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxq.backends.backend import Backend
from onnxq.errors import ModelError, RecipeError, unknown
from onnxq.graph import HEAVY_OPS, every_node
from onnxq.plan import Plan
from onnxq.planning.activation_bits import STORED, activation_widths, with_bits
from onnxq.planning.placement import Wishes, place
from onnxq.solving.widths import ENDS, ByLayer
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class PlanIntegers:
    """``exclude``: regular expressions searched in node names; ``keep_float``: operator types; ``activation_bits``: 2
    to 8, or 16, of what linear layers read, for all of them or by ``default``, ``first``, ``last`` and regular
    expressions; None as the backend has it; without ``activations`` weights alone are stored as integers, and every
    layer computes in float; ``numbers``: int8, or 8-bit floats in place of integers, where the backend has them.

    Raises ModelError if nothing is left to quantize.
    """

    exclude: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    activation_bits: int | ByLayer | None = None
    activations: bool = True
    numbers: Literal["int8", "fp8"] = "int8"
    name: ClassVar[str] = "plan"

    def __post_init__(self) -> None:
        for pattern in self.exclude:
            try:
                re.compile(pattern)
            except re.error as error:
                raise RecipeError(f"exclude: {pattern!r} is not a regular expression: {error}") from error
        activation_widths(self.activation_bits)
        if self.activation_bits is not None and (self.numbers == "fp8" or not self.activations):
            others = "numbers: fp8 has 8 bits (--numbers)" if self.activations else "activations: false plans none"
            raise RecipeError(f"{others}, and activation_bits are set. Leave one of them out.")

    def __call__(self, workspace: Workspace) -> bool:
        self._warn_of_idle_wishes(workspace)
        plan = place(workspace.graph, self._backend(workspace), Wishes(self.exclude, self.keep_float, self.activations))
        if not plan.weights:
            raise ModelError(nothing_to_quantize(workspace, plan))
        if self.activation_bits is not None:
            plan = with_bits(workspace.graph, plan, workspace.backend, activation_widths(self.activation_bits))
            _tell_bits(workspace, plan)
        changed = plan != workspace.plan
        workspace.plan = plan
        return changed

    def _backend(self, workspace: Workspace) -> Backend:
        """With the grids that were asked for, where it has them."""
        backend = workspace.backend
        if self.numbers == "fp8" and not backend.float8:
            workspace.ledger.add("declined", self.name, "graph", f"no FP8: {backend.title} has no kernels for it")
        return backend.in_float8() if self.numbers == "fp8" and backend.float8 else backend

    def _warn_of_idle_wishes(self, workspace: Workspace) -> None:
        names = [node.name for node in every_node(workspace.graph)]
        ops = {node.op for node in every_node(workspace.graph)}
        for pattern in self.exclude:
            if not any(re.search(pattern, name) for name in names):
                workspace.ledger.add("warning", self.name, pattern, f"exclude {pattern!r} matches no node of the model")
        for pattern, _ in activation_widths(self.activation_bits).fixed:
            if pattern not in ENDS and not any(re.search(pattern, name) for name in names):
                reason = f"activation_bits: {pattern!r} matches no node of the model"
                workspace.ledger.add("warning", self.name, pattern, reason)
        for op in self.keep_float:
            if op not in ops:
                workspace.ledger.add("warning", self.name, op, f"keep_float: {unknown('operator', op, ops)}")


def _tell_bits(workspace: Workspace, plan: Plan) -> None:
    """What engines make of grids that are not of 8 bits."""
    backend = workspace.backend
    counts = Counter(entry.schemes.signed.bits for entry in plan.activations.values())
    for bits, count in sorted(counts.items()):
        said = f"{count} of {counts.total()} activations have {bits} bits"
        if bits < STORED:
            what = f"simulated, as integers of 8 bits that are clipped to {bits}"
            reason = f"{said}: {what}; engines compute with 8, or in float"
        elif bits > STORED and backend.wide_note:
            reason = f"{said}: {backend.wide_note}"
        else:
            continue
        workspace.ledger.add("warning", PlanIntegers.name, f"{bits} bits", reason)


def nothing_to_quantize(workspace: Workspace, plan: Plan) -> str:
    """A sentence that says why no linear layer of the model becomes integer."""
    others = {node.name for node in workspace.graph.nodes if node.op not in HEAVY_OPS}
    reasons = sorted({reason for name, reason in plan.floats.items() if name not in others})
    detail = f": {'; '.join(reasons[:3])}" if reasons else ": it has none"
    return (
        f"nothing to quantize for {workspace.backend.title}: no Conv, ConvTranspose, Gemm or MatMul of the model "
        f"can become integer{detail}."
    )
