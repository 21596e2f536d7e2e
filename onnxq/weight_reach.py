"""How far the weights of a layer reach that make a channel, or read one, while channels are multiplied by factors."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.components import Numbers
from onnxq.graph import layout

Reach = NDArray[np.float32]


class WeightReach:
    """Of one layer with a constant weight. ``made`` and ``read`` are the channels it makes and reads: a region, and
    which of its channels they are."""

    made: tuple[int, Numbers] | None = None
    read: tuple[int, Numbers] | None = None

    def __init__(self, node: gs.Node) -> None:
        self._largest = _largest(node)
        self._known: dict[int, tuple[Vector | None, Reach]] = {}

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self._largest).all())

    def rows(self, logs: Sequence[Vector]) -> Vector:
        """By made channel, with the logarithms of the factors by region."""
        return _times(self._along(2, self.read, logs, -1), self.made, logs, 1)

    def columns(self, logs: Sequence[Vector]) -> Vector:
        """By read channel, with the logarithms of the factors by region."""
        return _times(self._along(1, self.made, logs, 1), self.read, logs, -1)

    def _along(self, axis: int, channels: tuple[int, Numbers] | None, logs: Sequence[Vector], sign: int) -> Reach:
        """The largest weight along an axis whose channels are multiplied; most factors stand still most of the time."""
        log = None if channels is None else logs[channels[0]]
        if axis not in self._known or self._known[axis][0] is not log:
            scaled = self._largest
            if channels is not None and log is not None and np.any(log):
                shape = [self._largest.shape[0], 1, 1]
                shape[axis] = self._largest.shape[axis]
                scaled = scaled * np.exp(sign * log[channels[1]]).astype(np.float32).reshape(shape)
            self._known[axis] = (log, scaled.max(axis=axis).ravel())
        return self._known[axis][1]


def _largest(node: gs.Node) -> Reach:
    """The largest weight between two channels, [groups, made in one, read in one]; float32 is half the work."""
    where = layout(node)
    assert where is not None  # it is an end of a region
    weight = np.asarray(node.inputs[where.index].values)
    flat = np.abs(weight.reshape(*weight.shape[:2], -1)).max(axis=2).astype(np.float32)
    if node.op == "ConvTranspose":
        return np.ascontiguousarray(flat.reshape(where.groups, -1, flat.shape[1]).transpose(0, 2, 1))
    if where.out_axis == 1:
        flat = np.ascontiguousarray(flat.T)
    return np.asarray(flat.reshape(where.groups, -1, flat.shape[1]))


def _times(reach: Reach, channels: tuple[int, Numbers] | None, logs: Sequence[Vector], sign: int) -> Vector:
    factor = 1.0 if channels is None else np.exp(sign * logs[channels[0]][channels[1]])
    return np.asarray(reach * factor, np.float64)
