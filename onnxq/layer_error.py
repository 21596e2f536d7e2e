"""What integers cost the layers that read an activation: the error of what they make, measured on samples of it.

The activation, times a factor per channel, is rounded on one grid of the range that the mse calibrator would choose;
the weights, divided by the factor, on theirs; a layer computes with both. Its error is that of its output over the
power of its output, so that layers count alike.
"""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.calibrators.mse import Mse
from onnxq.channels import Vector, scale_input_channels
from onnxq.constants import best_grid, reach
from onnxq.execute import Session
from onnxq.graph import layout
from onnxq.scheme import LOPSIDED, ActivationSchemes, Scheme, dequantize, qparams, quantize
from onnxq.statistics import TensorStatistics

Array = NDArray[np.float32]
UNSIGNED = Scheme(signed=False, symmetric=False)
SIGNED = Scheme(signed=True, symmetric=True)
IR_VERSION = 8
MEASURED = 8  # candidates for a range: enough to compare factors


class LayerError:
    """The layers that read one activation, and what they make of samples of it. Its channels are on axis 1, or on the
    last one, as the layers read them. ``weight``: the grid of weights, along output channels if it has an axis."""

    def __init__(self, layers: Sequence[gs.Node], samples: Array, opset: int, weight: Scheme) -> None:
        self._samples, self._grids = samples, _grids(samples)
        self._layers = [_Layer(node, samples, opset, weight) for node in layers]
        axis = 1 if samples.ndim > 2 else samples.ndim - 1
        self._along = [-1 if i == axis else 1 for i in range(samples.ndim)]

    def __call__(self, factor: Vector) -> Vector:
        """The sum over the layers, for each of two grids that engines have: unsigned from the least to the greatest
        value, and signed with 0 in the middle."""
        scaled = self._samples * factor.reshape(self._along).astype(np.float32)
        weights = [layer.rounded(factor) for layer in self._layers]
        found = {}
        for grid in dict.fromkeys(self._grids):
            read = _rounded(scaled, grid)
            found[grid] = sum(layer.error(read, w) for layer, w in zip(self._layers, weights, strict=True))
        return np.array([found[grid] for grid in self._grids])


def gain_db(before: Vector, after: Vector) -> float:
    """How much less error there is, in dB, on the average of the grids; 0 where there was none."""
    if not (before > 0).all():
        return 0.0
    return float(np.mean(10 * np.log10(before / np.maximum(after, np.finfo(np.float64).tiny))))


def _grids(samples: Array) -> tuple[Scheme, Scheme]:
    """Where nothing is negative signed grids waste half, and where both sides reach alike the two are the same, for
    every factor: one of them is enough."""
    low, high = -float(samples.min(initial=0)), float(samples.max(initial=0))
    if low == 0:
        return UNSIGNED, UNSIGNED
    return (UNSIGNED, SIGNED) if min(low, high) < LOPSIDED * max(low, high) else (SIGNED, SIGNED)


def _rounded(values: Array, grid: Scheme) -> Array:
    found = Mse(MEASURED).range(TensorStatistics.of(values), ActivationSchemes.always(grid))
    params = qparams(grid, found)
    return dequantize(quantize(values, params), params)


class _Layer:
    """One layer without its bias, computed by onnxruntime."""

    def __init__(self, node: gs.Node, samples: Array, opset: int, weight: Scheme) -> None:
        where = layout(node)
        assert where is not None  # its weight is constant
        self._node, self._values = node, np.asarray(node.inputs[where.index].values, np.float32)
        self._scheme = weight if weight.axis is None else weight.along(where.out_axis)
        x, w, y = (gs.Variable(name, np.float32) for name in "xwy")
        alone = gs.Graph([gs.Node(node.op, "layer", dict(node.attrs), [x, w], [y])], [x, w], [y], opset=opset)
        self._session = Session(gs.export_onnx(alone, do_type_check=False, ir_version=IR_VERSION), threads=1)
        self._wanted = self._made(samples, self._values)
        self._power = float(np.square(self._wanted, dtype=np.float64).sum())

    def rounded(self, factor: Vector) -> Array:
        """The weights divided by ``factor``, [input channels], on their grid."""
        read = gs.Variable("x", np.float32, [1] * self._values.ndim)
        alone = gs.Node(self._node.op, "layer", dict(self._node.attrs), [read, gs.Constant("w", self._values)])
        scale_input_channels(alone, 1 / factor, np.zeros(len(factor)))
        values = np.asarray(alone.inputs[1].values, np.float32)
        params = best_grid(values, self._scheme, reach(values, self._scheme))
        return dequantize(quantize(values, params), params)

    def error(self, read: Array, weight: Array) -> float:
        difference = self._made(read, weight) - self._wanted
        return float(np.square(difference, dtype=np.float64).sum()) / self._power if self._power > 0 else 0.0

    def _made(self, read: Array, weight: Array) -> Array:
        return np.asarray(self._session.run({"x": read, "w": weight})["y"])
