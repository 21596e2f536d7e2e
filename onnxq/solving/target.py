"""The weight that makes, of what a quantized layer reads, what the float layer makes of what it would have read.

With ``x`` and ``z`` as in ``pairs``, ``sum ||W x - Q z||^2`` is least over all real ``Q`` at ``W + W S H^-1``, and
rises from there by ``(that - Q) H (that - Q)^T``: the weight to be rounded is that, and the moments those of ``z``.

So many numbers fitted to some samples fit others worse. Therefore the weight goes only a part ``a`` of that way: for
every row the part that lowers the error most on one half of the samples, where the way was measured on the other half.
With rounding left out it changes by ``a^2 D H D^T - 2 a D (W S)^T``, ``D`` being the way of the other half and the
moments this half's; so the best is ``D (W S)^T / D H D^T``, of both halves' sums, between 0 and 1. The way itself
is the mean of both.
"""

import numpy as np

from onnxq.second_moments import Moments
from onnxq.solving.grid import Matrix
from onnxq.solving.pairs import Pairs

DAMPING = 1e-2  # of the mean of the diagonal: what H hardly knows is not divided by


def target(weight: Matrix, one: Pairs, other: Pairs) -> tuple[Matrix, Matrix]:
    """``weight`` [groups, outputs, columns] moved, and the part of the way that every row went, [groups, outputs]."""
    ways = [_way(weight, half) for half in (one, other)]
    gained, cost = np.zeros(weight.shape[:2]), np.zeros(weight.shape[:2])
    for half, way in zip((other, one), ways, strict=True):
        gained += (way * _times(weight, half.shift, half.moments)).sum(axis=2)
        cost += half.moments.error(way)
    part = np.clip(gained / np.where(cost > 0, cost, 1), 0, 1)
    return weight + part[:, :, None] * (ways[0] + ways[1]) / 2, part


def _way(weight: Matrix, pairs: Pairs) -> Matrix:
    """``W S H^-1``."""
    wanted = _times(weight, pairs.shift, pairs.moments)
    found = np.empty_like(wanted)
    for part, h in zip(pairs.moments.slices, pairs.moments.blocks, strict=True):
        found[:, :, part] = np.swapaxes(np.linalg.solve(_damped(h), np.swapaxes(wanted[:, :, part], 1, 2)), 1, 2)
    return found


def _damped(h: Matrix) -> Matrix:
    """``H`` with more on its diagonal, so that it can be solved whatever it is."""
    size = h.shape[-1]
    mean = np.trace(h, axis1=1, axis2=2) / size
    return np.asarray(h + (DAMPING * np.where(mean > 0, mean, 1))[:, None, None] * np.eye(size))


def _times(weight: Matrix, blocks: tuple[Matrix, ...], moments: Moments) -> Matrix:
    """The weight times a matrix of diagonal blocks."""
    parts = [weight[:, :, part] @ block for part, block in zip(moments.slices, blocks, strict=True)]
    return np.concatenate(parts, axis=2)
