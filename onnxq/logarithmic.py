"""A grid that is finer near zero: ``x ≈ ± scale * 2^(k / 16)`` with ``k`` from 0 to 127, and zero.

It is how HiSilicon's NNIE computes, by the account of MQBench (docs/source/user_guide/hardware/nnie.rst), where ``c``
is the clipping value, ``z = round(16 * log2(c)) - 127`` and ``scale = 2^(z / 16)``: k is ``round(16 * log2(|x|) - z)``,
clipped; what is smaller than half the smallest magnitude is zero; and the smallest negative one is k = 1, since the
sign without magnitude, byte 0x80, stands for zero. Codes here are those bytes as int8: -128 is zero.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

PER_OCTAVE = 16
STEP = 2 ** (1 / PER_OCTAVE)
HIGHEST = 127
ZERO = -128


def smallest(reach: Floats) -> NDArray[np.float32]:
    """The scale of the grid whose largest value is nearest to ``reach``, by its logarithm."""
    exponent = np.rint(PER_OCTAVE * np.log2(reach.astype(np.float64))) - HIGHEST
    return np.asarray(2 ** (exponent / PER_OCTAVE), np.float32)


def largest(scale: Floats | float) -> NDArray[np.float64]:
    """The clipping value ``c`` of a grid, for which ``16 * log2(c)`` is whole: a float32 scale is not that exact."""
    exponent = np.rint(PER_OCTAVE * np.log2(np.asarray(scale, np.float64))) + HIGHEST
    return np.asarray(2 ** (exponent / PER_OCTAVE), np.float64)


def codes(reals: Floats, scale: Floats) -> NDArray[np.int8]:
    """The bytes that stand for ``reals``; same shape."""
    magnitude, least = np.abs(reals.astype(np.float64)), np.where(reals < 0, 1, 0)
    silent = magnitude < scale * STEP**least / 2
    steps = np.rint(PER_OCTAVE * np.log2(np.where(silent, 1, magnitude / scale)))
    code = np.clip(steps, least, HIGHEST) * np.where(reals < 0, -1, 1)
    return np.where(silent, ZERO, code).astype(np.int8)


def values(code: NDArray[np.integer], scale: Floats) -> NDArray[np.float32]:
    """The reals that the bytes stand for."""
    integer = code.astype(np.float64)
    magnitude = scale.astype(np.float64) * 2 ** (np.abs(integer) / PER_OCTAVE)
    return np.where(integer == ZERO, 0, np.where(integer < 0, -magnitude, magnitude)).astype(np.float32)
