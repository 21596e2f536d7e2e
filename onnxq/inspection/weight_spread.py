"""How unlike the output channels of a weight are: with one grid for all of them, a channel that reaches ``1/s`` as far
as the largest has ``log2(s)`` bits fewer, and ``20 log10(s)`` dB more error (white paper, arXiv 2106.08295, sect. 2.4).
"""

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.graph import HEAVY_OPS, layout
from onnxq.scheme import Floats, Range, Scheme, dequantize, qparams, quantize

GRID = Scheme(signed=True, symmetric=True)
FLOATS = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True)
class Rounded:
    """Signal over error of a weight rounded to the nearest of 8 bits, dB: of all of it, where large channels drown
    what small ones lose, and of its median channel. Infinite where nothing is lost."""

    whole_db: float
    channel_db: float


@dataclass(frozen=True)
class WeightSpread:
    """``ranges``: of every output channel, its largest magnitude. ``spread`` is the largest range over the median one,
    ``extreme`` over the least; ``dead`` channels, nothing but zeros, count in neither. ``outlier``: the channel of the
    largest range."""

    layer: str
    op: str
    tensor: str
    ranges: tuple[float, ...]
    largest: float
    spread: float
    extreme: float
    outlier: int
    dead: int
    per_tensor: Rounded
    per_channel: Rounded

    @property
    def loss_db(self) -> float:
        """What the median channel loses where all share one grid."""
        one, each = self.per_tensor.channel_db, self.per_channel.channel_db
        return 0.0 if one == each else each - one  # both may be infinite


def weight_spreads(graph: gs.Graph) -> tuple[WeightSpread, ...]:
    """Of the constant weights of all linear layers, each once, widest spread first. Those that hold NaN or infinity,
    or nothing but zeros, have none."""
    found: dict[str, WeightSpread] = {}
    for node in graph.nodes:
        where = layout(node) if node.op in HEAVY_OPS else None
        if where is None or node.inputs[where.index].name in found:
            continue
        weight = np.asarray(node.inputs[where.index].values)
        if weight.dtype.name in FLOATS and np.any(weight) and np.isfinite(weight).all():
            name = node.inputs[where.index].name
            found[name] = _spread(node, name, weight.astype(np.float32, copy=False), where.out_axis)
    return tuple(sorted(found.values(), key=lambda entry: -entry.spread))


def _spread(node: gs.Node, tensor: str, weight: Floats, axis: int) -> WeightSpread:
    others = tuple(a for a in range(weight.ndim) if a != axis)
    ranges = np.abs(weight).max(others).astype(np.float64)
    live = ranges[ranges > 0]
    largest = float(live.max())
    return WeightSpread(
        node.name,
        node.op,
        tensor,
        tuple(ranges.tolist()),
        largest,
        largest / float(np.median(live)),
        largest / float(live.min()),
        int(ranges.argmax()),
        len(ranges) - len(live),
        _rounded(weight, np.asarray(largest), GRID, others),
        _rounded(weight, ranges, GRID.along(axis), others),
    )


def _rounded(weight: Floats, reach: Vector, scheme: Scheme, others: tuple[int, ...]) -> Rounded:
    params = qparams(scheme, Range(-reach, reach))
    error = weight - dequantize(quantize(weight, params), params)
    signals, errors = (np.square(part, dtype=np.float64).sum(others) for part in (weight, error))
    live = signals > 0
    return Rounded(
        float(_decibels(signals.sum(), errors.sum())), float(np.median(_decibels(signals[live], errors[live])))
    )


def _decibels(signal: Vector, error: Vector) -> Vector:
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(signal / error))
