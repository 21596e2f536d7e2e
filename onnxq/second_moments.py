"""``H = sum of x x^T`` over the columns ``x`` that a linear layer multiplies its weight by, one a group.

All that the output error of a layer depends on: with rounded weights ``Q`` in place of ``W`` it is
``sum ||(W - Q) x||^2 = tr((W - Q) H (W - Q)^T)`` (Frantar et al. 2022, arXiv 2210.17323, where it is called the
Hessian, 2 H). Rows and columns of ``H`` are in the order of ``weight_matrix``'s columns.

Columns are counted off from the first sample of a shard on, in chunks of ``CHUNK``: each is multiplied in float32 and
added to a sum in float64. So the relative error stays below 1e-5, and the bytes do not depend on the batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.columns import Columns
from onnxq.execute import Session

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]
CHUNK = 256  # columns: of so many products the float32 sum errs by 256 / 2 of 2^-24, 7.6e-6, at the very most
GOLDEN = (math.sqrt(5) - 1) / 2
TILE = 512  # rows of a product at a time, which then takes little room


@dataclass(frozen=True)
class Moments:
    """``blocks``: the diagonal blocks of ``H``, [groups, size, size] each, which cover its columns in order; mostly
    one. ``columns``: how many were summed."""

    blocks: tuple[Matrix, ...]
    columns: int

    def merge(self, other: "Moments") -> "Moments":
        """Those of both sets of columns together."""
        added = tuple(one + two for one, two in zip(self.blocks, other.blocks, strict=True))
        return Moments(added, self.columns + other.columns)

    @property
    def finite(self) -> bool:
        return all(bool(np.isfinite(block).all()) for block in self.blocks)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The columns that each block is of."""
        ends = np.cumsum([block.shape[-1] for block in self.blocks])
        return tuple(slice(int(end) - block.shape[-1], int(end)) for end, block in zip(ends, self.blocks, strict=True))

    def error(self, difference: NDArray[np.floating]) -> NDArray[np.float64]:
        """``d H d^T`` of every row ``d`` of [groups, outputs, columns], [groups, outputs]."""
        rows = difference.astype(np.float64, copy=False)
        terms = [((rows[..., a] @ h) * rows[..., a]).sum(-1) for a, h in zip(self.slices, self.blocks, strict=True)]
        return np.asarray(sum(terms))


@dataclass(frozen=True)
class SecondMoments:
    """Watches what a layer reads; ``each`` is how many positions of a sample are looked at, None all of them, and
    ``blocks`` the sizes of the diagonal blocks, one of all columns where there are none."""

    tensor: str
    columns: Columns
    each: int | None = None
    blocks: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.blocks or (self.columns.size,)

    @property
    def nbytes(self) -> int:
        """Of memory, while it watches: the sums of a shard of the samples and of all before it, and a chunk."""
        return 2 * self.merging + 4 * self.columns.groups * CHUNK * self.columns.size

    @property
    def merging(self) -> int:
        """Bytes that a merge takes beside, for the sums of both."""
        return 8 * self.columns.groups * sum(size**2 for size in self.sizes)

    def begin(self) -> "Sum":
        return Sum(self)


class Sum:
    """Adds up the columns of a tensor that is shown a few samples at a time."""

    def __init__(self, watched: SecondMoments) -> None:
        groups, size = watched.columns.groups, watched.columns.size
        self._watched = watched
        self._sums = [np.zeros((groups, size, size)) for size in watched.sizes]
        self._chunk, self._filled = np.zeros((groups, size, CHUNK), np.float32), 0
        self._samples, self._columns = 0, 0

    def add(self, array: Array, samples: int) -> None:
        """The tensor of so many ``samples``; one that is not made of as many equal parts is taken for one sample."""
        columns, each = self._watched.columns, self._watched.each
        total = columns.positions(array.shape)
        samples = samples if total % samples == 0 else 1
        count = total // samples
        wanted = count if each is None else min(each, count)
        sample = np.repeat(np.arange(samples), wanted)
        turn = self._samples * wanted + np.arange(samples * wanted)
        self._samples += samples
        self._put(array, sample * count + turn * stride(count) % max(count, 1))

    def kept(self) -> Moments:
        """What all samples together had. It is handed over, not copied: nothing can be added any more."""
        self._multiply()
        for total in self._sums:
            for row in range(0, total.shape[1], TILE):
                tile, behind = slice(row, row + TILE), slice(row + TILE, None)
                total[:, behind, tile] = np.swapaxes(total[:, tile, behind], 1, 2)
        return Moments(tuple(self._sums), self._columns)

    def _put(self, array: Array, positions: NDArray[np.intp]) -> None:
        while len(positions):
            now, positions = np.split(positions, [CHUNK - self._filled])
            end = self._filled + len(now)
            self._chunk[:, :, self._filled : end] = self._watched.columns.take(array, now)
            self._filled = end
            if end == CHUNK:
                self._multiply()

    def _multiply(self) -> None:
        """Add the chunk's products, of which the tiles on the diagonal and above it are enough."""
        columns, self._columns, self._filled = self._chunk[:, :, : self._filled], self._columns + self._filled, 0
        if columns.size == 0:
            return
        end = 0
        for total in self._sums:
            start, end = end, end + total.shape[1]
            for row in range(0, total.shape[1], TILE):
                right = columns[:, start + row : end]
                total[:, row : row + TILE, row:] += times()(right[:, :TILE], right)


@cache
def times() -> Callable[[Array, Array], Array]:
    """``a b^T`` by group, in onnxruntime: unlike numpy's, its bytes do not depend on the number of threads, and no
    second pool of threads is in the way of the one that runs the model."""
    a, b, turned, y = (gs.Variable(name, np.float32) for name in ("a", "b", "turned", "y"))
    nodes = [
        gs.Node("Transpose", "turn", {"perm": [0, 2, 1]}, [b], [turned]),
        gs.Node("MatMul", "y", {}, [a, turned], [y]),
    ]
    a.shape, b.shape, y.shape = ("groups", "m", "n"), ("groups", "k", "n"), ("groups", "m", "k")
    graph = gs.Graph(nodes, inputs=[a, b], outputs=[y], opset=17)
    session = Session(gs.export_onnx(graph, do_type_check=False, ir_version=8))
    return lambda one, other: np.asarray(session.run({"a": one, "b": other})["y"])


@cache
def stride(count: int) -> int:
    """Steps of it, round and round, meet each of ``count`` positions once; however many steps are spread evenly."""
    stride = max(1, round(count * GOLDEN))
    while math.gcd(stride, count) > 1:
        stride += 1
    return stride
