"""Choose a grid for every planned activation, from statistics collected once for all backends."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from onnxq.calibrators import CALIBRATORS, Calibrator, calibrator_of
from onnxq.channel_weights import channel_weights
from onnxq.choices import CalibratorChoice, made, named
from onnxq.errors import DataError, Declined, RecipeError
from onnxq.nonlinear import FUNCTIONS
from onnxq.passes.plan import nothing_to_quantize
from onnxq.plan import Activation, Plan
from onnxq.ranges.given import given_ranges
from onnxq.ranges.range_file import read_ranges
from onnxq.scheme import QParams, Range, held, qparams, same_grid
from onnxq.statistics import TensorStatistics
from onnxq.watching import Values, Watcher, watch
from onnxq.workspace import Workspace

THREADS = 4  # that choose ranges: more would wait for each other


@dataclass(frozen=True)
class Calibrate:
    """``activations``: the calibrator by name, or ``{name: options}``; ``percentile``: an option of that calibrator;
    ``ranges``: a file of ranges that another tool measured, which are taken as they are."""

    activations: CalibratorChoice = "mse"
    percentile: float | None = None
    ranges: str | None = None
    name: ClassVar[str] = "calibrate"
    paths: ClassVar[tuple[str, ...]] = ("ranges",)

    def __post_init__(self) -> None:
        name, options = self._chosen()
        if self.percentile is not None and name != "percentile":
            raise RecipeError(f"percentile: the calibrator is {name!r}; it must be 'percentile'")
        if self.percentile is not None and "percentile" in options:
            raise RecipeError("percentile: is given twice. Leave out one of them.")
        self.calibrator()
        if self.ranges is not None:
            read_ranges(self.ranges)  # said now, not when the model is prepared

    def calibrator(self) -> Calibrator:
        """The calibrator with its options."""
        name, options = self._chosen()
        if self.percentile is not None:
            options = {**options, "percentile": self.percentile}
        try:
            return made(calibrator_of(name), options, name)
        except RecipeError as error:
            raise RecipeError(f"activations: {error}") from error

    def _chosen(self) -> tuple[str, Mapping[str, object]]:
        try:
            return named(self.activations, "calibrator")
        except RecipeError as error:
            raise RecipeError(f"activations: {error}") from error

    def watched(self, workspace: Workspace) -> tuple[frozenset[str], dict[str, Values]]:
        """The tensors whose values count alike, and how a calibrator that weighs readers watches the others."""
        tensors = self._unknown(workspace)
        if not getattr(self.calibrator(), "weighs_readers", False):
            return tensors, {}
        weighed, known = {}, workspace.graph.tensors()
        for tensor in sorted(tensors & known.keys()):
            try:
                entry = workspace.plan.activations.get(tensor)
                weights = channel_weights(workspace.graph, known[tensor], entry.readers if entry else None)
                weighed[tensor] = Values(tensor, weights=weights)
            except Declined as reason:
                said = f"the error of the tensor itself decides on its range, as for 'mse': {reason}"
                workspace.ledger.add("declined", self.name, tensor, said)
        return tensors - weighed.keys(), weighed

    def _unknown(self, workspace: Workspace) -> frozenset[str]:
        """The planned tensors whose ranges no file gives, and the samples have to tell."""
        if self.ranges is not None and workspace.ranges is None:
            workspace.ranges = given_ranges(workspace, self.ranges)
        return workspace.plan.watched - (workspace.ranges or {}).keys()

    def __call__(self, workspace: Workspace) -> bool:
        calibrator = self.calibrator()
        alike, weighed = self.watched(workspace)
        collect(workspace, alike, calibrator.histogram, weighed.values())
        workspace.plan = _without_unusable(workspace)
        given = workspace.ranges or {}
        asked = {tensor: entry for tensor, entry in workspace.plan.activations.items() if entry.grid not in given}

        def seen(entry: Activation) -> TensorStatistics:
            watcher = weighed.get(entry.grid)
            return workspace.statistics[entry.grid] if watcher is None else workspace.seen(watcher)

        def choose(entry: Activation) -> Range:
            # A tensor that takes the grid of another must come out on the same one, whoever reads it.
            through = workspace.plan.activations.get(entry.grid, entry).through
            return calibrator.range(seen(entry), entry.schemes, FUNCTIONS.get(through or ""))

        ranges = {
            tensor: given[entry.grid] for tensor, entry in workspace.plan.activations.items() if entry.grid in given
        }
        ranges |= zip(asked, _each(choose, asked.values(), type(calibrator) in CALIBRATORS.values()), strict=True)
        found = {}
        for tensor, entry in workspace.plan.activations.items():
            chosen = ranges[tensor]
            if not (isinstance(chosen, Range) and np.isfinite([chosen.low, chosen.high]).all()):
                raise RecipeError(
                    f"{type(calibrator).__name__} chose {chosen} for {tensor!r}; a range has two finite ends"
                )
            found[tensor] = qparams(entry.schemes.of(chosen), chosen)
            if tensor == entry.grid and tensor in asked:
                what = "values" if tensor not in weighed else "values, by the weights that read them,"
                _tell_clipping(workspace, tensor, seen(entry), _kept(chosen, found[tensor]), what)
        before, workspace.activations = workspace.activations, found
        return before.keys() != found.keys() or not all(same_grid(found[t], before[t]) for t in found)


def _each(choose: Callable[[Activation], Range], entries: Collection[Activation], together: bool) -> Iterable[Range]:
    """What is chosen for each: by several threads ``together`` only where nobody else's code chooses."""
    if not together:
        return map(choose, entries)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
        return list(threads.map(choose, entries))


def collect(workspace: Workspace, tensors: Iterable[str], histogram: bool, others: Iterable[Watcher[Any]] = ()) -> None:
    """Watch those tensors, and with the ``others``, as far as it was not done yet. Raises DataError if the samples are
    empty or all zero."""
    known = workspace.statistics
    missing = [t for t in tensors if t not in known or (histogram and known[t].counts is None)]
    beside = {watcher: watcher for watcher in others if watcher not in workspace.kept}
    if not missing and not beside:
        return
    inputs = [tensor.name for tensor in workspace.graph.inputs if tensor.dtype == np.float32]
    watchers = {name: Values(name, histogram) for name in sorted({*missing, *inputs})}
    found = _measured(workspace, {**watchers, **beside})
    if inputs and not any(found[name].excited for name in inputs):
        raise DataError(
            f"{workspace.samples.description}: every value of input {inputs[0]!r} is zero, so no range can be "
            "measured. Give samples like those the model will see."
        )
    for watcher in beside:
        workspace.kept[watcher] = found.pop(watcher)
        if isinstance(watcher, Values):
            known.setdefault(watcher.tensor, replace(workspace.seen(watcher), counts=None))
    known.update(found)


def _measured(workspace: Workspace, watchers: Mapping[Any, Watcher[Any]]) -> dict[Any, Any]:
    """What the watchers keep of the samples: what is on record is taken from there."""
    record, total = workspace.record, workspace.samples.count
    page = None if record is None else record.page(workspace.model(), watchers)
    known = {} if page is None else page.known()
    rest = {key: watcher for key, watcher in watchers.items() if key not in known}
    if not rest:
        return known
    if record is not None and not record.everything and not record.cached:
        reason = (
            f"{len(rest)} tensors are not in it and were measured now: it was made with another recipe or for another "
            "backend"
        )
        workspace.ledger.add("warning", "calibrate", record.measured.description, reason)
    page = None if page is None else page.of(rest)
    found = watch(
        workspace.lean(),
        rest,
        workspace.samples,
        batch=workspace.batch,
        step=lambda done: workspace.progress("calibrate", done, total),
        cluster=workspace.cluster,
        tell=lambda reason: workspace.ledger.add("warning", "calibrate", "cluster", reason),
        begun=None if page is None else page.begun(),
        keep=(lambda done, total: None) if page is None else page.keep,
    )
    if page is not None:
        page.add(found)
    return {**known, **found}


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


def _tell_clipping(workspace: Workspace, tensor: str, statistics: TensorStatistics, chosen: Range, what: str) -> None:
    low, high = float(chosen.low), float(chosen.high)
    if low <= statistics.low and high >= statistics.high:
        return
    share = f"some {what}"
    if statistics.counts is not None:
        values, counts = statistics.histogram()
        outside = counts[(values < low) | (values > high)].sum() / counts.sum()
        share = f"{100 * outside:.3g} % of {what}" if outside else ""
    if share:
        workspace.ledger.add(
            "clipped",
            "calibrate",
            tensor,
            f"{share} lie outside [{low:.4g}, {high:.4g}] "
            f"and are clipped to it; all lie in [{statistics.low:.4g}, {statistics.high:.4g}]",
        )
