"""Integers for reals: ``q = clip(round(x / scale) + zero_point)`` and ``x ≈ (q - zero_point) * scale``.

White paper (arXiv 2106.08295), eq. 4 to 7. Rounding is half to even, as ONNX QuantizeLinear does.
A logarithmic grid has another formula: see ``logarithmic.py``. Of 8-bit floats (E4M3, arXiv 2209.05433) ``q`` is the
nearest float rather than an integer. Blocks are those of ONNX DequantizeLinear 21.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq import logarithmic

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

FLOAT8 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.FLOAT8E4M3FN)
LARGEST_FLOAT8 = 448
SHIFTED_BITS = 6  # around any zero point they fit in 7 bits, which kernels take that saturate beyond
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


class Steps(Enum):
    """How the values of a grid are spaced; a value is what a grid is wider by than the next narrower one."""

    EVEN = 1.0  # any scale
    POWER_OF_TWO = 2.0  # evenly, by a power of two
    LOGARITHMIC = logarithmic.STEP  # each is that many times the one before
    FLOAT8 = 2.0**0.25  # as 8-bit floats are, with 4 bits of exponent and 3 of mantissa; any scale


@dataclass(frozen=True)
class Scheme:
    """A choice of integer grid; ``axis=None`` is one grid per tensor.

    A ``block`` other than 0 is how many neighbours along ``axis`` share a scale, at every place of the other axes; the
    last block is shorter where it does not divide the axis.

    A grid of fewer than 8 bits is held in 8 (a file may pack it, see ``packing.py``), one of more in 16. A symmetric
    grid has zero point 0 and leaves the lowest signed integer unused, so that a value and its negative are both on it.
    """

    signed: bool
    symmetric: bool
    bits: int = 8
    axis: int | None = None
    steps: Steps = Steps.EVEN
    block: int = 0

    @property
    def even(self) -> bool:
        """Whether its values are integers times a scale."""
        return self.steps in (Steps.EVEN, Steps.POWER_OF_TWO)

    @property
    def dtype(self) -> np.dtype[np.integer]:
        if self.steps is Steps.FLOAT8:
            return FLOAT8
        if self.bits > 8:
            return np.dtype(np.int16 if self.signed else np.uint16)
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def lowest(self) -> int:
        if self.steps is Steps.FLOAT8:
            return -LARGEST_FLOAT8
        if not self.signed:
            return 0
        return -(1 << (self.bits - 1)) + int(self.symmetric)

    @property
    def reachable(self) -> int:
        """The lowest integer a solver may choose: of a symmetric grid of fewer than 8 bits also the one left unused,
        which no engine minds, and which is one more of as few as 15, or of 3."""
        return self.lowest - int(self.even and self.symmetric and self.signed and self.bits < 8)

    @property
    def shifted(self) -> bool:
        """Whether its integers less their zero points are what is stored: those of few bits are INT8 around zero then,
        which every INT8 kernel takes, and a channel has its 16 of 4 bits where its weights lie."""
        return self.even and self.signed and not self.symmetric and self.bits <= SHIFTED_BITS

    @property
    def highest(self) -> int:
        if self.steps is Steps.FLOAT8:
            return LARGEST_FLOAT8
        return (1 << (self.bits - int(self.signed))) - 1

    def along(self, axis: int | None) -> "Scheme":
        return replace(self, axis=axis)

    def __str__(self) -> str:
        kind = "symmetric" if self.symmetric else "asymmetric"
        where = "per tensor" if self.axis is None else f"per channel (axis {self.axis})"
        where = f"blocks of {self.block} (axis {self.axis})" if self.block else where
        if self.steps is Steps.FLOAT8:
            return f"float8 e4m3 {where}"
        steps = "" if self.steps is Steps.EVEN else f" {self.steps.name.lower().replace('_', ' ')}"
        return f"{'i' if self.signed else 'u'}{self.bits} {kind}{steps} {where}"


@dataclass(frozen=True)
class Range:
    """The reals a grid must hold: ``low`` and ``high``, scalars or one per channel."""

    low: Floats
    high: Floats

    @staticmethod
    def of(low: float, high: float) -> "Range":
        return Range(np.asarray(low, np.float64), np.asarray(high, np.float64))


LOPSIDED = 0.5  # a symmetric grid spends half its integers on the shorter side; below this, an asymmetric one
# has steps at most 3/4 as wide


@dataclass(frozen=True)
class ActivationSchemes:
    """The grid a backend wants for an activation, by what its range turns out to be: ``non_negative``,
    ``lopsided`` (one side reaches less than half as far as the other, as after SiLU and GELU), or ``signed``."""

    non_negative: Scheme
    signed: Scheme
    lopsided: Scheme

    @staticmethod
    def always(scheme: Scheme) -> "ActivationSchemes":
        """One grid, whatever the range."""
        return ActivationSchemes(scheme, scheme, scheme)

    def of(self, found: Range) -> Scheme:
        low, high = float(np.min(found.low)), float(np.max(found.high))
        if low >= 0:
            return self.non_negative
        return self.lopsided if min(-low, high) < LOPSIDED * max(-low, high) else self.signed


@dataclass(frozen=True)
class QParams:
    """``scale`` float32 and ``zero_point`` of the scheme's dtype: scalars, or one per channel; of a grid in blocks both
    have the shape of the tensor, but for ``axis``, which counts the blocks."""

    scheme: Scheme
    scale: NDArray[np.float32]
    zero_point: Integers


def qparams(scheme: Scheme, found: Range) -> QParams:
    """The grid of ``scheme`` that covers ``found`` and zero; a range of nothing but zero gets scale 1.

    A scale that must be a power of two is the next one up.
    """
    low = np.minimum(np.asarray(found.low, np.float64), 0)
    high = np.maximum(np.asarray(found.high, np.float64), 0)
    if scheme.symmetric:
        # An unsigned symmetric grid (zero point 0) holds what is not negative; the rest is clipped.
        reach = high if not scheme.signed else np.maximum(-low, high)
        if scheme.steps is Steps.LOGARITHMIC:
            scale = logarithmic.smallest(_positive(reach))
        else:
            scale = _stepped(reach / scheme.highest, scheme.steps)
        return QParams(scheme, scale, np.zeros(scale.shape, scheme.dtype))
    scale = _stepped((high - low) / (scheme.highest - scheme.lowest), scheme.steps)
    zero = np.clip(np.rint(scheme.lowest - low / scale), scheme.lowest, scheme.highest)
    return QParams(scheme, scale, np.asarray(zero, scheme.dtype))


def held(params: QParams) -> Range:
    """The least and the greatest real on the grid."""
    scheme, scale = params.scheme, params.scale.astype(np.float64)
    if scheme.steps is Steps.LOGARITHMIC:
        reach = logarithmic.largest(scale)
        return Range(-reach, reach)
    zero = params.zero_point.astype(np.float64)
    return Range((scheme.lowest - zero) * scale, (scheme.highest - zero) * scale)


def same_grid(one: QParams, other: QParams) -> bool:
    """Whether both put the same integers on the same reals."""
    return (
        one.scheme == other.scheme
        and np.array_equal(one.scale, other.scale)
        and np.array_equal(one.zero_point, other.zero_point)
    )


def _stepped(scale: Floats, steps: Steps) -> NDArray[np.float32]:
    positive = _positive(scale)
    if steps is not Steps.POWER_OF_TWO:
        return positive
    # Of a power of two, not its neighbour by the rounding of a division, the next one up is itself.
    exponent = np.ceil(np.log2(positive.astype(np.float64)) - 1e-6)
    return np.asarray(np.ldexp(np.float32(1), np.maximum(exponent, -126).astype(np.int32)), np.float32)


def _positive(scale: Floats) -> NDArray[np.float32]:
    """Engines refuse a scale that is not positive; nothing but zeros has any scale."""
    return np.asarray(np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1), np.float32)


def quantize(values: Floats, params: QParams) -> Integers:
    """The nearest integers of the grid, clipped to it; same shape as ``values``."""
    scale, zero = _aligned(params, values.shape)
    scheme = params.scheme
    if scheme.steps is Steps.LOGARITHMIC:
        return logarithmic.codes(values, scale)
    if scheme.steps is Steps.FLOAT8:
        return np.clip(values / scale, scheme.lowest, scheme.highest).astype(scheme.dtype)
    integers = np.clip(np.rint(values / scale) + zero, scheme.lowest, scheme.highest)
    return integers.astype(scheme.dtype)


def dequantize(integers: Integers, params: QParams) -> NDArray[np.float32]:
    """The reals the integers stand for, float32."""
    scale, zero = _aligned(params, integers.shape)
    if params.scheme.steps is Steps.LOGARITHMIC:
        return logarithmic.values(integers, scale)
    return ((integers.astype(np.float32) - zero) * scale).astype(np.float32)


def _aligned(params: QParams, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    zero, axis = params.zero_point.astype(np.float32), params.scheme.axis
    if axis is None:
        return params.scale, zero
    if params.scheme.block:
        inside = np.arange(shape[axis]) // params.scheme.block
        return params.scale.take(inside, axis), zero.take(inside, axis)
    spread = [1] * len(shape)
    spread[axis] = -1
    return params.scale.reshape(spread), zero.reshape(spread)
