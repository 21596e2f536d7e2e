"""Fill the plan of a backend with the grids and the integers that a quantized model had."""

from collections.abc import Mapping
from dataclasses import replace

import onnx_graphsurgeon as gs

from onnxq.graph import producer
from onnxq.lifting.lift import Lifted
from onnxq.passes import Calibrate, RoundWeights
from onnxq.plan import Activation, Weight
from onnxq.retargeting.fit import Fit, fit_activation, fit_weight, from_zero
from onnxq.retargeting.learned import learned_grid, own_grid
from onnxq.scheme import QParams, same_grid
from onnxq.workspace import RoundedWeight, Workspace

STAGE = "retarget"


def only_integer_weights(space: Workspace, lifted: Lifted) -> None:
    """A layer whose weight was float was kept so on purpose, and stays."""
    integer = lifted.weights.keys() | lifted.lost
    reasons = {
        name: "its weight is float in the model given"
        for weight in space.plan.weights
        if weight.tensor not in integer
        for name, _ in weight.readers
    }
    space.plan = space.plan.without_nodes(reasons)


def keep_activations(space: Workspace, lifted: Lifted, refit: bool, calibrate: Calibrate | None) -> int:
    """A grid for every planned activation: learned, or else calibrated, or else the tensor stays float.

    How many are exactly what they were.
    """
    _keep_known_alive(space, lifted)
    tensors = space.graph.tensors()
    learned = {name: _grid_of(space, name, tensors, lifted) for name in sorted(space.plan.watched)}
    missing = {name for name, params in learned.items() if params is None}
    found = _calibrated(space, missing, calibrate) if missing and calibrate is not None else {}
    _leave_float(space, missing - {space.plan.activations[name].grid for name in found})
    fits = {name: _fit(space, name, params, refit) for name, params in learned.items() if params is not None}
    exact = 0
    for tensor, entry in space.plan.activations.items():
        params = learned[entry.grid]
        if params is None:
            continue
        fit = fits[entry.grid]
        found[tensor] = fit.params
        if fit.reason or fit.slower:
            space.ledger.add("changed" if fit.reason else "warning", STAGE, tensor, fit.reason or fit.slower)
        exact += not fit.reason and not _tell_other_grids(space, tensors[tensor], entry, params, lifted)
    space.activations = {tensor: found[tensor] for tensor in space.plan.activations}
    return exact


def _grid_of(space: Workspace, name: str, tensors: Mapping[str, gs.Tensor], lifted: Lifted) -> QParams | None:
    """The learned grid of the tensor that lends its grid, or of one that shares it."""
    members = [entry for entry in space.plan.activations.values() if entry.grid == name]
    members.sort(key=lambda entry: entry.tensor != name)
    wanted = frozenset(edge for entry in members for edge in entry.wanted)
    own = (own_grid(tensors[entry.tensor], lifted.activations, wanted) for entry in members)
    others = (learned_grid(space.graph, tensors[entry.tensor], lifted.activations, wanted) for entry in members)
    return next((params for found in (own, others) for params in found if params is not None), None)


def _fit(space: Workspace, name: str, learned: QParams, refit: bool) -> Fit:
    """The grid that all tensors with the grid of ``name`` get."""
    members = [entry for entry in space.plan.activations.values() if entry.grid == name]
    if not members:  # left float
        return Fit(learned)
    fit = fit_activation(learned, members[0].schemes, refit=refit)
    tensors = space.graph.tensors()
    for entry in members:
        maker = producer(tensors[entry.tensor])
        if entry.everyone and maker is not None and maker.op in space.backend.absorbs:
            return from_zero(fit, entry.schemes.non_negative, maker.op)
    return fit


def _calibrated(space: Workspace, missing: set[str], calibrate: Calibrate) -> dict[str, QParams]:
    """Grids from samples, for the tensors whose grid was not learned."""
    plan = space.plan
    wanting = {tensor: entry for tensor, entry in plan.activations.items() if entry.grid in missing}
    space.plan = replace(plan, activations=wanting)
    calibrate(space)
    found, space.plan = space.activations, plan
    for tensor in found:
        space.ledger.add(
            "changed", STAGE, tensor, "it had no grid in the model given, and is calibrated on the samples"
        )
    return dict(found)


def _leave_float(space: Workspace, tensors: set[str]) -> None:
    for tensor in sorted(tensors):
        entry = space.plan.activations.get(tensor)
        if entry is not None and entry.everyone:
            space.ledger.add(
                "declined",
                STAGE,
                tensor,
                f"{space.backend.title} wants integers behind the node that makes it, for which the model given has "
                "no grid; calibrate it with --data (samples=)",
            )
    space.plan = space.plan.without(dict.fromkeys(tensors, "its activation has no grid in the model given"))


def _tell_other_grids(space: Workspace, tensor: gs.Tensor, entry: Activation, params: QParams, lifted: Lifted) -> bool:
    """Whether the tensor had another grid as well, for the same readers, and lost it."""
    lost = [
        other
        for other in lifted.activations.get(tensor.name, ())
        if not same_grid(other.params, params) and (other.readers & entry.wanted or entry.everyone)
    ]
    for other in lost:
        space.ledger.add(
            "changed", STAGE, tensor.name, f"it had more than one grid ({other.params.scheme}), and now has one"
        )
    return bool(lost)


def _keep_known_alive(space: Workspace, lifted: Lifted) -> None:
    """Say which learned grids the backend has no use for."""
    planned = space.plan.activations
    for tensor in lifted.activations:
        if tensor not in planned:
            space.ledger.add(
                "changed", STAGE, tensor, f"its grid is left out: {space.backend.title} wants no integers there"
            )


def keep_weights(space: Workspace, lifted: Lifted, rounding: RoundWeights) -> int:
    """Integers for every planned weight: the learned ones, else rounded anew. How many are what they were."""
    plan = space.plan
    kept: dict[Weight, RoundedWeight] = {}
    for weight in plan.weights:
        learned = lifted.weights.get(weight.tensor)
        fitted = fit_weight(learned, weight.scheme) if learned is not None else None
        if fitted is not None:
            kept[weight] = fitted
            continue
        if learned is not None:
            reason = f"{learned.params.scheme} becomes {weight.scheme}: its values are rounded anew"
        elif weight.tensor in lifted.lost:
            reason = f"its learned grid cannot be kept; {weight.scheme}: its values are rounded anew"
        else:
            reason = f"it was float in the model given, and is rounded to {weight.scheme}"
        space.ledger.add("changed", STAGE, weight.tensor, reason)
    space.plan = replace(plan, weights=tuple(weight for weight in plan.weights if weight not in kept))
    space.weights = {}
    if space.plan.weights:
        rounding(space)
    space.plan = plan
    rounded = {**space.weights, **kept}
    space.weights = {weight: rounded[weight] for weight in plan.weights}
    return len(kept)
