"""Which values of a large tensor are counted, and for how many each of them stands.

Of a row (a tensor without its first axis) of more than 4,096 values an evenly spread part is counted, the same for any
batch; each stands for ``each = size / counted`` values. Rare large values decide on a range, and such a part meets few
of them. But the greatest value of every channel, if it is positive, and the least, if it is negative, are known
exactly: they are counted too, once each, and where one is in the part, it is taken out there. So each value counts once
on average, and the tail is complete but for what hides behind a greater value of its channel. By how much ranges
still differ from those of all values: ``tests/bench/counted_part.py``.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ROW = 2**12  # values of one sample that are counted; of larger tensors, every n-th
FEW = 64  # values of a part, of which reduceat takes several times as long
Floats = NDArray[np.float32]
Shape = tuple[int, ...]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Reduced:
    """Of a tensor of n rows: ``high`` and, unless it is known to be 0, ``low`` of parts of each row, [n, parts]; the
    ``total`` or mean of these, in which no NaN is lost; and ``some`` of its values, [n, k], if they were asked for.
    ``shape``: of a row. Parts are the channels of images, else what lies along the last axis."""

    shape: Shape
    high: Floats
    total: Floats | None = None
    low: Floats | None = None
    some: Floats | None = None

    @staticmethod
    def of(array: Floats, some: bool) -> "Reduced":
        """A tensor that is not empty; a number is a row of its own."""
        parts = by_part(array)
        counted = thinned(array).reshape(len(parts), -1) if some else None
        return Reduced(array.shape[1:], parts.max(axis=2), None, parts.min(axis=2), counted)

    def extremes(self) -> Floats:
        """The lows and the highs of parts, [n, 2 * parts]."""
        low = np.minimum(self.high, 0) if self.low is None else self.low
        both = np.concatenate([low, self.high], axis=1)
        return both if self.total is None else np.where(np.isnan(np.tile(self.total, 2)), np.nan, both)


@dataclass(frozen=True, eq=False)
class Thinning:
    """Of rows of some shape: for how many values ``each`` of those that are counted stands; which of the ``parts`` have
    any, and where theirs ``begin`` among them."""

    each: int
    parts: NDArray[np.intp]
    begin: NDArray[np.intp]

    def hits(self, extremes: Floats, some: Floats, sign: int) -> Floats:
        """Those of the ``extremes``, by ``sign`` the greatest or the least, that are among ``some`` that are counted;
        0 for the others, [n, parts that have any]."""
        furthest, inner = np.maximum if sign > 0 else np.minimum, some.shape[1] // len(self.begin)
        if inner < FEW and np.array_equal(np.append(self.begin, some.shape[1]), inner * np.arange(len(self.begin) + 1)):
            apart = some.reshape(len(some), -1, inner).transpose(2, 0, 1)
            of_some = furthest.reduce(np.ascontiguousarray(apart), axis=0)
        else:
            of_some = furthest.reduceat(some, self.begin, axis=1)
        return np.where(extremes[:, self.parts] == of_some, of_some, 0)


def thinning_of(shape: Shape) -> Thinning:
    """That of rows of this shape."""
    return _thinning(shape, ROW)


@cache
def _thinning(shape: Shape, row: int) -> Thinning:
    place = np.arange(math.prod(shape), dtype=np.int32).reshape(1, *shape)
    counted = thinned(place).reshape(-1)
    parts, begin = np.unique(counted // by_part(place).shape[2], return_index=True)
    return Thinning(round(place.size / len(counted)), parts, begin)


def by_part(array: NDArray[Number]) -> NDArray[Number]:
    """[rows, parts, values]; of a number, one each."""
    if array.ndim < 2:
        return array.reshape(-1, 1, 1)
    count = array.shape[1] if is_image(array.shape[1:]) else math.prod(array.shape[1:-1])
    return array.reshape(len(array), count, -1)


def thinned(array: NDArray[Number]) -> NDArray[Number]:
    """The values that are counted, evenly spread over each row and the same whatever the batch."""
    shape = array.shape[1:]
    if is_image(shape):
        return array[(slice(None), slice(None), *(slice(None, None, step) for step in lattice(shape)))]
    return array.reshape(len(array), -1)[:, :: every_nth(shape)] if array.ndim else array


def is_image(shape: Shape) -> bool:
    """Whether [channels, positions...] has two or three axes of positions, as what onnxruntime pools has."""
    return len(shape) in (3, 4)


def lattice(shape: Shape) -> Shape:
    """Along each axis of positions of [channels, positions...] at every how many of them values are counted: odd
    numbers, so that patterns of two, as upsampling makes them, are met everywhere."""
    steps, size = [1] * (len(shape) - 1), math.prod(shape)
    while size > ROW * math.prod(steps):
        steps[steps.index(min(steps))] += 2
    return tuple(steps)


def every_nth(shape: Shape) -> int:
    """Every how many values of a row one is counted: an odd number, so that every column is met."""
    size = math.prod(shape)
    return 1 if size <= ROW else -(-size // ROW) | 1
