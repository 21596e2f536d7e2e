"""What is wrong with a layer's numbers, read from its weights, its grids and the values that were seen.

A channel is an outlier where one grid serves all and it reaches 8 times as far as the median channel: the others have
3 bits less (white paper, arXiv 2106.08295, sect. 2.4). A range is eaten where 99.9 % of the values need an eighth of it
or less.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.channels import channel_axis
from onnxq.diagnosing.switched import Site
from onnxq.execute import Session, returning
from onnxq.graph import HEAVY_OPS, every_node, layout
from onnxq.inputs import Array
from onnxq.passes.calibrate import collect
from onnxq.scheme import QParams, Scheme, dequantize, held
from onnxq.statistics import TensorStatistics
from onnxq.workspace import RoundedWeight, Workspace

FAR = 8.0  # times: 3 bits
MOST = 0.999
SATURATED = 0.01  # of the values
BATCHES = 2  # that tell the channels of activations


@dataclass(frozen=True)
class Symptom:
    """``kind``: outlier_channel, eaten_range, saturation, dead_channels or rounded_away. ``size``: how many times as
    far, or which share; ``said`` in words."""

    kind: str
    where: str
    tensor: str
    size: float
    said: str


def symptoms(
    space: Workspace, sites: Sequence[Site], batches: Sequence[Mapping[str, Array]]
) -> dict[str, tuple[Symptom, ...]]:
    """Of every layer, worst first within its weights and within its activations."""
    collect(space, space.plan.watched, histogram=True)  # a calibrator may have asked for extremes alone
    weights = {weight.tensor: rounded for weight, rounded in space.weights.items()}
    nodes = {node.name: node for node in every_node(space.graph)}
    reach = _channel_reach(space, batches)
    known, found = space.graph.tensors(), {}
    for site in sites:
        mine: list[Symptom] = []
        for name in site.weights:
            tensor = known.get(name)
            if isinstance(tensor, gs.Constant) and site.layer in nodes:
                values = np.asarray(tensor.values, np.float32)
                mine += _of_weight(name, values, weights[name], _out_axis(nodes[site.layer], name))
        for name in site.activations:
            grid = space.plan.activations[name].grid
            mine += _of_activation(name, space.statistics.get(grid), space.activations[name], reach.get(name))
        found[site.layer] = tuple(mine)
    return found


def spreads(found: Mapping[str, Sequence[Symptom]]) -> dict[str, float]:
    """How many times as far as the median channel the widest channel of a layer's weights or activations reaches."""
    return {
        layer: max((one.size for one in entries if one.kind == "outlier_channel"), default=0.0)
        for layer, entries in found.items()
    }


def _out_axis(node: gs.Node, tensor: str) -> int | None:
    where = layout(node) if node.op in HEAVY_OPS else None
    return where.out_axis if where is not None and node.inputs[where.index].name == tensor else None


def _of_weight(name: str, values: Array, rounded: RoundedWeight, axis: int | None) -> Iterator[Symptom]:
    if axis is None or values.ndim < 2 or values.shape != rounded.integers.shape:
        return
    others = tuple(at for at in range(values.ndim) if at != axis)
    reach = np.abs(values).max(others).astype(np.float64)
    if rounded.params.scheme.axis is None:
        yield from _outlier("weights", name, reach, rounded.params.scheme)
    made = np.abs(dequantize(rounded.integers, rounded.params)).max(others)
    lost = int(np.sum((made == 0) & (reach > 0)))
    if lost:
        said = f"{lost} of its {len(reach)} output channels {_are(lost)} rounded to nothing but zero"
        yield Symptom("rounded_away", "weights", name, lost / len(reach), said)
    if dead := int(np.sum(reach == 0)):
        said = f"{dead} of its {len(reach)} output channels {_are(dead, 'has', 'have')} nothing but zeros for weights"
        yield Symptom("dead_channels", "weights", name, dead / len(reach), said)


def _of_activation(name: str, seen: TensorStatistics | None, grid: QParams, reach: Vector | None) -> Iterator[Symptom]:
    if reach is not None:
        yield from _outlier("activations", name, reach, grid.scheme)
        if dead := int(np.sum(reach == 0)):
            said = (
                f"{dead} of {len(reach)} channels of {name!r} {_are(dead, 'was', 'were')} zero on all samples looked at"
            )
            yield Symptom("dead_channels", "activations", name, dead / len(reach), said)
    if seen is None or seen.counts is None or not seen.finite or not seen.counts.any():
        return
    values, counts = seen.histogram()
    whole = held(grid)
    low, high = float(np.min(whole.low)), float(np.max(whole.high))
    half = float(np.max(grid.scale)) / 2
    clipped = float(counts[(values < low - half) | (values > high + half)].sum() / counts.sum())
    if clipped > SATURATED:
        said = f"{100 * clipped:.2g} % of the values of {name!r} lie beyond its grid, [{low:.3g}, {high:.3g}]"
        yield Symptom("saturation", "activations", name, clipped, said)
    order = np.argsort(np.abs(values), kind="stable")
    share = np.cumsum(counts[order]) / counts.sum()
    most = float(np.abs(values[order])[min(int(np.searchsorted(share, MOST)), len(values) - 1)])
    far = max(-low, high)
    if most > 0 and far / most >= FAR:
        said = (
            f"99.9 % of the values of {name!r} lie within {most:.3g} of zero, and its grid reaches {far:.3g}: a few "
            f"values take {np.log2(far / most):.1f} bits from all others"
        )
        yield Symptom("eaten_range", "activations", name, far / most, said)


def _outlier(where: str, name: str, reach: Vector, scheme: Scheme) -> Iterator[Symptom]:
    """One channel that reaches far beyond the median one, where one grid of even steps serves all of them."""
    live, bits = reach[reach > 0], scheme.bits
    if len(live) < 2 or not scheme.even:
        return
    times, at = float(live.max() / np.median(live)), int(reach.argmax())
    if times >= FAR:
        left = max(bits - float(np.log2(times)), 0)
        said = (
            f"channel {at} of {name!r} reaches {float(live.max()):.3g}, {times:.3g} times as far as the median one, "
            f"which has {left:.1f} of {bits} bits left with one grid for all"
        )
        yield Symptom("outlier_channel", where, name, times, said)


def _are(count: int, one: str = "is", several: str = "are") -> str:
    return one if count == 1 else several


def _channel_reach(space: Workspace, batches: Sequence[Mapping[str, Array]]) -> dict[str, Vector]:
    """The largest magnitude in every channel of planned activations: of axis 1 of images, else of the last axis."""
    model = space.model()
    made = {name for node in model.graph.node for name in node.output}
    wanted = [name for name in space.plan.activations if name in made]
    if not wanted:
        return {}
    session = Session(returning(model, wanted), optimize=False)
    found: dict[str, Vector] = {}
    for feeds in batches[:BATCHES]:
        for name, array in session.run(feeds).items():
            if array.ndim >= 2 and array.size:
                axis = channel_axis(array.ndim)
                others = tuple(at for at in range(array.ndim) if at != axis)
                here = np.abs(array).max(others).astype(np.float64)
                found[name] = np.maximum(found[name], here) if name in found else here
    return found
