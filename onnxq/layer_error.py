"""What integers cost the layers that read an activation: the error of what they make, measured on samples of it.

The activation, times a factor per channel, is rounded on one grid of the range that the mse calibrator would choose;
the weights, divided by the factor, on theirs; a layer computes with both. Its error is that of its output over the
power of its output, so that layers count alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.calibrators.mse import Mse
from onnxq.channels import scale_input_channels
from onnxq.constants import best_grid, reach
from onnxq.execute import Session
from onnxq.graph import layout
from onnxq.scheme import ActivationSchemes, Range, Scheme, dequantize, qparams, quantize
from onnxq.statistics import TensorStatistics

Array = NDArray[np.float32]
IR_VERSION = 8
MEASURED = 8  # candidates for a range: enough to compare factors


@dataclass(frozen=True)
class Grids:
    """Those of a backend: of activations, and of weights, along output channels if it has an axis."""

    activation: ActivationSchemes
    weight: Scheme


class LayerError:
    """The layers that read one activation, and what they make of samples of it. Its channels are on axis 1, or, where
    the layers multiply rows, on the last one."""

    def __init__(
        self, layers: Sequence[gs.Node], samples: Array, opset: int, grids: Sequence[Grids], left: float = 1.0
    ) -> None:
        """``left``: of the error of weights that are rounded to nearest, in power, where solvers do better."""
        self._left = left
        found = Range.of(float(samples.min()), float(samples.max()))
        self._samples, self._grids = samples, [(entry.activation.of(found), entry.weight) for entry in grids]
        self._layers = [_Layer(node, samples, opset) for node in layers]
        axis = 1 if samples.ndim > 2 else samples.ndim - 1
        self._along = [-1 if i == axis else 1 for i in range(samples.ndim)]

    def __call__(self, factor: Vector) -> Vector:
        """The sum over the layers, for each of the grids, [grids]."""
        scaled = self._samples * factor.reshape(self._along).astype(np.float32)
        read = {scheme: _rounded(scaled, scheme) for scheme in dict.fromkeys(scheme for scheme, _ in self._grids)}
        weights = [layer.scaled(1 / factor) for layer in self._layers]
        layers = list(zip(self._layers, weights, strict=True))
        found = {
            grids: sum(layer.error(read[grids[0]], w, grids[1], self._left) for layer, w in layers)
            for grids in set(self._grids)
        }
        return np.array([found[grids] for grids in self._grids])


def gain_db(before: Vector, after: Vector) -> float:
    """How much less error there is, in dB, on the average of the grids; 0 where there was none."""
    if not (before > 0).all():
        return 0.0
    return float(np.mean(10 * np.log10(before / np.maximum(after, np.finfo(np.float64).tiny))))


def _rounded(values: Array, scheme: Scheme) -> Array:
    found = Mse(MEASURED).range(TensorStatistics.of(values), ActivationSchemes.always(scheme))
    params = qparams(scheme, found)
    return dequantize(quantize(values, params), params)


class _Layer:
    """One layer without its bias, computed by onnxruntime."""

    def __init__(self, node: gs.Node, samples: Array, opset: int) -> None:
        where = layout(node)
        assert where is not None  # its weight is constant
        self._node, self._out_axis = node, where.out_axis
        self._values = np.asarray(node.inputs[where.index].values, np.float32)
        x, w, y = (gs.Variable(name, np.float32) for name in "xwy")
        alone = gs.Graph([gs.Node(node.op, "layer", dict(node.attrs), [x, w], [y])], [x, w], [y], opset=opset)
        self._session = Session(gs.export_onnx(alone, do_type_check=False, ir_version=IR_VERSION), threads=1)
        self._wanted = self._made(samples, self._values)
        self._power = float(np.square(self._wanted, dtype=np.float64).sum())

    def scaled(self, factor: Vector) -> Array:
        """The weights times ``factor``, [input channels]."""
        alone = gs.Node(
            self._node.op, "layer", dict(self._node.attrs), [gs.Variable("x"), gs.Constant("w", self._values)]
        )
        scale_input_channels(alone, factor, np.zeros(len(factor)))
        weight = np.asarray(alone.inputs[1].values, np.float32)
        # A tensor of graphsurgeon's holds itself, and would hold the weight until garbage is collected.
        alone.inputs[1].values = np.empty(0, np.float32)
        return weight

    def error(self, read: Array, weight: Array, scheme: Scheme, left: float) -> float:
        """Of what it makes of the rounded ``read`` and the weights on their grid, of whose error so much is ``left``,
        over the power of what it makes."""
        along = scheme if scheme.axis is None else scheme.along(self._out_axis)
        params = best_grid(weight, along, reach(weight, along))
        rounded = dequantize(quantize(weight, params), params)
        rounded = rounded if left == 1 else weight + np.float32(np.sqrt(left)) * (rounded - weight)
        difference = self._made(read, rounded) - self._wanted
        return float(np.square(difference, dtype=np.float64).sum()) / self._power if self._power > 0 else 0.0

    def _made(self, read: Array, weight: Array) -> Array:
        return np.asarray(self._session.run({"x": read, "w": weight})["y"])
