"""What a linear layer multiplies its weight by, column by column: ``y[:, p] = W x[:, p]`` at every position ``p``.

The columns are in the order of ``weight_matrix``. A Conv's are the windows of the image (``windows``), a Gemm's and a
MatMul's the rows of what it reads.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.weight_matrix import weight_layout, weight_matrix
from onnxq.windows import windows_of

Array = NDArray[np.float32]


class Columns(Protocol):
    """How a layer reads a tensor. ``size`` numbers, for each of ``groups``, meet a row of its weight at a position;
    those of one channel lie together, ``together`` at a time."""

    @property
    def groups(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def together(self) -> int: ...

    def positions(self, shape: tuple[int, ...], /) -> int:
        """How many a tensor of that shape has, those of its first sample first."""

    def take(self, array: Array, positions: NDArray[np.intp], /) -> Array:
        """The columns at some of them, as [groups, size, positions]."""


@dataclass(frozen=True)
class Rows:
    """Of a tensor [..., rows, size]; of [..., size, rows] where they stand ``upright``, since the weight is on the left
    or the Gemm transposes. Each matrix of a ``stack`` of weights has rows of its own, [..., *stack, rows, size]."""

    size: int
    stack: tuple[int, ...] = ()
    upright: bool = False

    @property
    def groups(self) -> int:
        return math.prod(self.stack)

    @property
    def together(self) -> int:
        return 1

    def positions(self, shape: tuple[int, ...]) -> int:
        return math.prod(self._rows(np.broadcast_to(np.float32(0), shape)).shape[: -1 - len(self.stack)])

    def take(self, array: Array, positions: NDArray[np.intp]) -> Array:
        rows = self._rows(array)
        where = np.unravel_index(positions, rows.shape[: -1 - len(self.stack)])
        return np.moveaxis(rows[where].reshape(-1, self.groups, self.size), 0, 2)

    def _rows(self, array: Array) -> Array:
        """[..., rows, *stack, size], a view."""
        lying = np.atleast_2d(array)
        lying = np.swapaxes(lying, -1, -2) if self.upright else lying
        stacked = np.broadcast_to(lying, (*np.broadcast_shapes(lying.shape[:-2], self.stack), *lying.shape[-2:]))
        return np.moveaxis(stacked, -2, -2 - len(self.stack))


def columns_of(node: gs.Node) -> Columns:
    """How a Conv, ConvTranspose, Gemm or MatMul with a constant weight reads. Raises Declined."""
    where = weight_layout(node)
    if node.op in ("Conv", "ConvTranspose"):
        return windows_of(node)
    size = weight_matrix(node).shape[2]
    stack = node.inputs[where.index].shape[:-2] if node.op == "MatMul" else ()
    upright = where.index == 0 if node.op == "MatMul" else bool(node.attrs.get("transA", 0))
    # Leading ones are no stack: they only add axes.
    first = next((i for i, size in enumerate(stack) if size != 1), len(stack))
    return Rows(size, tuple(int(entry) for entry in stack[first:]), upright)
