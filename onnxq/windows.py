"""The windows of an image that a convolution multiplies its weight by (im2col), at some of its positions.

Conv, at output ``o`` and tap ``t`` of every axis, reads input ``o * stride - pad + t * dilation``, or zero outside. A
ConvTranspose reads input ``(o + pad - t * dilation) / stride`` where that is whole, and zero elsewhere; so both are
``y = W x`` at every position of their output. See ONNX, operators Conv and ConvTranspose, for sizes and padding.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.weight_matrix import weight_matrix

Array = NDArray[np.float32]
Indices = NDArray[np.intp]
OUTSIDE = -1


@dataclass(frozen=True)
class Windows:
    """Of images [n, groups * channels, *sizes] of any size; ``adjusted`` is what ONNX calls output_padding."""

    groups: int
    channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    transposed: bool = False
    adjusted: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()

    @property
    def together(self) -> int:
        return math.prod(self.kernel)

    @property
    def size(self) -> int:
        return self.channels * self.together

    def positions(self, shape: tuple[int, ...]) -> int:
        return shape[0] * math.prod(len(axis) for axis in _read(self, shape[2:]))

    def take(self, array: Array, positions: Indices) -> Array:
        read = _read(self, array.shape[2:])
        image, position = np.divmod(positions, math.prod(len(axis) for axis in read))
        index = _flat(read, array.shape[2:], position)
        images = array.reshape(*array.shape[:2], -1)
        found = images[image, :, np.maximum(index, 0)]  # [taps, positions, channels]
        found[index == OUTSIDE] = 0
        return np.moveaxis(found, 2, 0).reshape(self.groups, self.size, -1)

    def read(self, i: int, size: int) -> Indices:
        """The input of an axis of that size that each output reads by each tap, [outputs, taps], or OUTSIDE."""
        stride = self.strides[i]
        before, outputs = self._transposed_padding(i, size) if self.transposed else self._padding(i, size)
        taps = np.arange(self.kernel[i]) * self.dilations[i]
        made = np.arange(outputs)[:, np.newaxis]
        if not self.transposed:
            found = made * stride - before + taps
        else:
            found, rest = np.divmod(made + before - taps, stride)
            found = np.where(rest == 0, found, OUTSIDE)
        return np.where((found >= 0) & (found < size), found, OUTSIDE)

    def _reach(self, i: int) -> int:
        return (self.kernel[i] - 1) * self.dilations[i] + 1

    def _padding(self, i: int, size: int) -> tuple[int, int]:
        """Zeros before the image, and the outputs, along axis ``i``."""
        reach, stride = self._reach(i), self.strides[i]
        if self.auto_pad.startswith("SAME"):
            outputs = -(-size // stride)
            return _before(self.auto_pad, max((outputs - 1) * stride + reach - size, 0)), outputs
        before, after = self.pads[i], self.pads[i + len(self.kernel)]
        return before, (size + before + after - reach) // stride + 1

    def _transposed_padding(self, i: int, size: int) -> tuple[int, int]:
        """What is cut off before the output, and the outputs that are left."""
        whole = self.strides[i] * (size - 1) + self.adjusted[i] + self._reach(i)
        if self.output_shape or self.auto_pad.startswith("SAME"):
            # An image that its stride stretches beyond its kernel gets nothing added, in onnxruntime.
            wanted = self.output_shape[i] if self.output_shape else min(size * self.strides[i], whole)
            return _before(self.auto_pad, max(whole - wanted, 0)), wanted
        before, after = self.pads[i], self.pads[i + len(self.kernel)]
        return before, whole - before - after


def windows_of(node: gs.Node) -> Windows:
    """Of a Conv or ConvTranspose with a constant weight. Raises Declined."""
    groups, _, size = weight_matrix(node).shape
    kernel = tuple(int(entry) for entry in node.inputs[1].shape[2:])
    ones, zeros = [1] * len(kernel), [0] * len(kernel)
    given = {"strides": ones, "dilations": ones, "pads": zeros * 2, "output_padding": zeros, "output_shape": ()}
    found = {name: tuple(int(entry) for entry in node.attrs.get(name, default)) for name, default in given.items()}
    auto_pad = str(node.attrs.get("auto_pad", "NOTSET"))
    return Windows(
        groups,
        size // math.prod(kernel),
        kernel,
        found["strides"],
        found["dilations"],
        found["pads"] if auto_pad == "NOTSET" else tuple(zeros * 2),
        auto_pad,
        node.op == "ConvTranspose",
        found["output_padding"],
        found["output_shape"],
    )


def _before(auto_pad: str, total: int) -> int:
    return total // 2 if auto_pad == "SAME_UPPER" else total - total // 2


@lru_cache(maxsize=512)
def _read(windows: Windows, sizes: tuple[int, ...]) -> list[Indices]:
    return [windows.read(i, size) for i, size in enumerate(sizes)]


def _flat(read: list[Indices], sizes: tuple[int, ...], positions: Indices) -> Indices:
    """Which element of an image each tap reads at each of the positions, [taps, positions], or OUTSIDE."""
    made = np.unravel_index(positions, [len(axis) for axis in read])
    found = np.zeros((1, len(positions)), np.intp)
    outside = np.zeros((1, len(positions)), bool)
    for axis, size, where in zip(read, sizes, made, strict=True):
        along = axis[where].T  # [taps of this axis, positions]
        found = (found[:, np.newaxis] * size + along).reshape(-1, len(positions))
        outside = (outside[:, np.newaxis] | (along == OUTSIDE)).reshape(-1, len(positions))
    return np.where(outside, OUTSIDE, found)
