"""Choose a grid for every planned activation, from statistics collected once for all backends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.calibrators import CALIBRATORS, Calibrator, calibrator_of
from onnxq.errors import DataError, RecipeError
from onnxq.nonlinear import FUNCTIONS
from onnxq.passes.plan import nothing_to_quantize
from onnxq.plan import Plan
from onnxq.ranges.given import given_ranges
from onnxq.ranges.range_file import read_ranges
from onnxq.scheme import QParams, Range, held, qparams, same_grid
from onnxq.statistics import TensorStatistics
from onnxq.watching import Values, watch
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class Calibrate:
    """``activations``: the calibrator; ``percentile``: what the percentile calibrator keeps on each side; ``ranges``: a
    file of ranges that another tool measured, which are taken as they are."""

    activations: str = "mse"
    percentile: float | None = None
    ranges: str | None = None
    name: ClassVar[str] = "calibrate"

    def __post_init__(self) -> None:
        if self.activations not in CALIBRATORS:
            try:
                calibrator_of(self.activations)
            except RecipeError as error:
                raise RecipeError(f"activations: {error}") from error
        if self.percentile is not None and self.activations != "percentile":
            raise RecipeError(f"percentile: the calibrator is {self.activations!r}; it must be 'percentile'")
        if self.ranges is not None:
            read_ranges(self.ranges)  # said now, not when the model is prepared

    def calibrator(self) -> Calibrator:
        """The calibrator with its options."""
        options = {} if self.percentile is None else {"percentile": self.percentile}
        return calibrator_of(self.activations)(**options)

    def unknown(self, workspace: Workspace) -> frozenset[str]:
        """The planned tensors whose ranges no file gives, and the samples have to tell."""
        if self.ranges is not None and workspace.ranges is None:
            workspace.ranges = given_ranges(workspace, self.ranges)
        return workspace.plan.watched - (workspace.ranges or {}).keys()

    def __call__(self, workspace: Workspace) -> bool:
        calibrator = self.calibrator()
        collect(workspace, self.unknown(workspace), calibrator.histogram)
        workspace.plan = _without_unusable(workspace)
        given = workspace.ranges or {}
        found = {}
        for tensor, entry in workspace.plan.activations.items():
            if entry.grid in given:
                found[tensor] = qparams(entry.schemes.of(given[entry.grid]), given[entry.grid])
                continue
            statistics = workspace.statistics[entry.grid]
            # A tensor that takes the grid of another must come out on the same one, whoever reads it.
            through = workspace.plan.activations.get(entry.grid, entry).through
            chosen = calibrator.range(statistics, entry.schemes, FUNCTIONS.get(through or ""))
            found[tensor] = qparams(entry.schemes.of(chosen), chosen)
            if tensor == entry.grid:
                _tell_clipping(workspace, tensor, statistics, _kept(chosen, found[tensor]))
        before, workspace.activations = workspace.activations, found
        return before.keys() != found.keys() or not all(same_grid(found[t], before[t]) for t in found)


def collect(workspace: Workspace, tensors: Iterable[str], histogram: bool) -> None:
    """Watch those tensors that are not known yet. Raises DataError if the samples are empty or all zero."""
    known = workspace.statistics
    missing = [t for t in tensors if t not in known or (histogram and known[t].counts is None)]
    if not missing:
        return
    inputs = [tensor.name for tensor in workspace.graph.inputs if tensor.dtype == np.float32]
    total = workspace.samples.count
    found = watch(
        workspace.model(),
        {name: Values(name, histogram) for name in sorted({*missing, *inputs})},
        workspace.samples,
        batch=workspace.batch,
        step=lambda done: workspace.progress("calibrate", done, total),
    )
    if inputs and not any(found[name].excited for name in inputs):
        raise DataError(
            f"{workspace.samples.description}: every value of input {inputs[0]!r} is zero, so no range can be "
            "measured. Give samples like those the model will see."
        )
    known.update(found)


def _without_unusable(workspace: Workspace) -> Plan:
    """The plan without tensors that no grid fits: never excited, infinite, or not a number."""
    reasons = {}
    given = workspace.ranges or {}
    for tensor in sorted(workspace.plan.watched):
        if tensor in given:
            if given[tensor].low == given[tensor].high == 0:
                reasons[tensor] = f"the range given for its activation {tensor!r} is nothing but zero"
            continue
        statistics = workspace.statistics[tensor]
        if not statistics.finite:
            reasons[tensor] = f"the samples make its activation {tensor!r} infinite or NaN"
        elif not statistics.excited:
            reasons[tensor] = f"its activation {tensor!r} is zero on every sample, so it has no range"
    for tensor, reason in reasons.items():
        workspace.ledger.add("warning", "calibrate", tensor, f"left in float: {reason}")
    plan = workspace.plan.without(reasons)
    if not plan.weights:
        raise DataError(f"{workspace.samples.description}: {nothing_to_quantize(workspace, plan)}")
    return plan


def _kept(chosen: Range, params: QParams) -> Range:
    """What was chosen, or what the grid holds where that is more: a power of two may reach far beyond."""
    whole = held(params)
    return Range(np.minimum(chosen.low, whole.low), np.maximum(chosen.high, whole.high))


def _tell_clipping(workspace: Workspace, tensor: str, statistics: TensorStatistics, chosen: Range) -> None:
    low, high = float(chosen.low), float(chosen.high)
    if statistics.counts is None or (low <= statistics.low and high >= statistics.high):
        return
    values, counts = statistics.histogram()
    outside = counts[(values < low) | (values > high)].sum() / counts.sum()
    if outside:
        workspace.ledger.add(
            "clipped",
            "calibrate",
            tensor,
            f"{100 * outside:.3g} % of values lie outside [{low:.4g}, {high:.4g}] "
            f"and are clipped to it; all lie in [{statistics.low:.4g}, {statistics.high:.4g}]",
        )
