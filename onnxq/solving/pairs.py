"""What a layer of integers reads beside what the float layer reads at the same places: their second moments.

With ``x`` what the float layer reads and ``z`` what the quantized one does,
``H = sum z z^T`` and ``S = sum (x - z) z^T``.
The latter tells how the float layer's output is to be made of ``z``: see ``target``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxq.columns import Columns
from onnxq.second_moments import Moments, stride, times
from onnxq.solving.grid import Matrix

Array = NDArray[np.float32]
CHUNK = 1024  # columns multiplied in float32 at a time: their sums err by 3e-5 at the very most


@dataclass(frozen=True)
class Pairs:
    """``moments``: ``H``, and ``shift``: ``S``, in the same blocks."""

    moments: Moments
    shift: tuple[Matrix, ...]

    def merge(self, other: "Pairs") -> "Pairs":
        """Those of both sets of columns together."""
        shift = tuple(one + two for one, two in zip(self.shift, other.shift, strict=True))
        return Pairs(self.moments.merge(other.moments), shift)

    @property
    def finite(self) -> bool:
        return self.moments.finite and all(bool(np.isfinite(block).all()) for block in self.shift)


class PairSum:
    """Adds up the columns of both tensors, batch by batch: at so many positions of each, evenly spread ones."""

    def __init__(self, columns: Columns, blocks: tuple[int, ...], each: int) -> None:
        self._columns, self._blocks, self._each = columns, blocks, each
        shapes = [(columns.groups, size, size) for size in blocks]
        self._moments, self._shift = [np.zeros(shape) for shape in shapes], [np.zeros(shape) for shape in shapes]
        self._seen, self._turn = 0, 0

    def add(self, wanted: Array, made: Array) -> None:
        """What the float layer reads, and the quantized one, of the same samples."""
        count = self._columns.positions(made.shape)
        taken = min(self._each, count)
        order = self._turn + np.arange(taken)
        positions = order * stride(count) % max(count, 1)
        self._turn, self._seen = self._turn + taken, self._seen + taken
        for start in range(0, taken, CHUNK):
            here = positions[start : start + CHUNK]
            read = np.ascontiguousarray(self._columns.take(made, here), np.float32)
            missing = np.ascontiguousarray(self._columns.take(wanted, here), np.float32) - read
            end = 0
            for moments, shift, size in zip(self._moments, self._shift, self._blocks, strict=True):
                part = slice(end, end := end + size)
                moments += times()(read[:, part], read[:, part])
                shift += times()(missing[:, part], read[:, part])

    def kept(self) -> Pairs:
        """What all batches together had; handed over, not copied."""
        return Pairs(Moments(tuple(self._moments), self._seen), tuple(self._shift))
