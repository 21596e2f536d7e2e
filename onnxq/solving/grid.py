"""The integer grid of a layer's weight as a matrix ``[groups, outputs, columns]`` (see ``weight_matrix``).

Rounding, and the scale that fits chosen integers best. What shares a scale is told by the shape of ``scale``: an axis
of length one is shared, and ``block`` columns of a row have one where it is not 0.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxq.scheme import SMALLEST_SCALE

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """``scale`` and ``zero_point``, of one shape: [groups or 1, outputs or 1, 1 or blocks]; the zero points are
    integers. The integers lie between ``lowest`` and ``highest``, both included. No scale that is chosen is below
    ``floor``, which has that shape or is one number, and all are ``powers`` of two if need be."""

    scale: Matrix
    zero_point: Matrix
    lowest: int
    highest: int
    block: int = 0
    floor: Matrix | float = SMALLEST_SCALE
    powers: bool = False

    def nearest(self, values: Matrix, columns: slice = slice(None)) -> Matrix:
        """The integers nearest to ``values`` [groups, outputs, columns], which are some columns of the matrix."""
        scale, zero = self.of(columns, values.shape[2])
        return np.clip(np.rint(values / scale) + zero, self.lowest, self.highest)

    def reals(self, integers: Matrix, columns: slice = slice(None)) -> Matrix:
        """What the integers of those columns stand for."""
        scale, zero = self.of(columns, integers.shape[2])
        return (integers - zero) * scale

    def of(self, columns: slice, count: int) -> tuple[Matrix, Matrix]:
        """Scale and zero point of so many columns, which can be multiplied with them."""
        start = columns.start or 0
        return self.spread(self.scale, count, start), self.spread(self.zero_point, count, start)

    def spread(self, shared: Matrix, count: int, start: int = 0) -> Matrix:
        """What has the last axis of ``scale``, with as many columns from ``start`` on, or one where all share it."""
        return shared[:, :, (np.arange(count) + start) // self.block] if self.block else shared

    def with_scale(self, scale: Matrix) -> "Grid":
        """With those scales, or the nearest to them that are allowed and that float32 has."""
        wanted = np.maximum(scale, self.floor)
        if self.powers:
            wanted = np.exp2(np.rint(np.log2(wanted)))
            wanted = np.where(wanted < self.floor, 2 * wanted, wanted)
        found = wanted.astype(np.float32)
        found = np.where(found < self.floor, np.nextafter(found, np.float32(np.inf)), found)
        return replace(self, scale=found.astype(np.float64))

    def shared(self, terms: Matrix) -> Matrix:
        """Sums of ``terms`` [groups, outputs, columns or 1] over all that share a scale, in the shape of ``scale``."""
        if self.block and terms.shape[2] > 1:
            terms = np.add.reduceat(terms, np.arange(0, terms.shape[2], self.block), axis=2)
        elif not self.block:
            terms = terms.sum(axis=2, keepdims=True)
        return self.over_rows(terms)

    def over_rows(self, terms: Matrix) -> Matrix:
        """Sums of ``terms`` [groups, outputs, any] over the rows that share a scale."""
        over = tuple(axis for axis in (0, 1) if self.scale.shape[axis] == 1)
        return np.asarray(terms.sum(axis=over, keepdims=True))
