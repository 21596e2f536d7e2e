"""Choose the factors of a group of channels: how strongly its activations are brought to one range, at the cost of the
weights, as SmoothQuant does (Xiao et al. 2022, arXiv 2211.10438, eq. 4), but with the strength that errs least.

A channel is divided by ``s = a^strength / w^(1 - strength)``, with ``a`` the largest magnitude it reaches and ``w``
that of the weights it is multiplied by. Strength 1 gives all channels one range, strength 0 all weights.
"""

from collections.abc import Callable, Mapping

import numpy as np

from onnxq.arrays import Vector
from onnxq.balance_groups import Group
from onnxq.channel_statistics import ChannelStatistics
from onnxq.layer_error import gain_db

STRENGTHS = (0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 1.0)
BEGINNINGS = (4, 6)  # of the search: the usual strength, and that which serves activations alone
QUIETEST = 2.0**-12  # of the loudest channel: one below is as good as dead, and may be loud on other samples
ROUNDS = 4
HOPELESS = 0.4  # of what is wanted: a beginning that gains less is not followed


def choose(
    group: Group, reaches: Mapping[str, Vector], error: Callable[[Vector], Vector], least: float, further: float
) -> tuple[Vector, float]:
    """The factors, [channels], rounded to float32, and what they gain in dB: 1 and 0 where that is below ``least``.

    Another round, which has to gain ``further``, starts from the ranges that the one before left.
    """
    factor, gained = np.ones(len(group.fixed)), 0.0
    before = error(factor)
    for _ in range(ROUNDS):
        found, after = _climb(group, reaches, error, factor, before, least)
        more = gain_db(before, after)
        if more < least:
            break
        factor, before, gained, least = found, after, gained + more, further
    return factor, gained


def turned(
    factor: Vector, gained: float, seen: ChannelStatistics, error: Callable[[Vector], Vector], least: float
) -> tuple[Vector, float]:
    """The same with the sign of channels turned that reach further below zero than above, where that gains ``least``:
    with all of them upright a grid with a zero point has no half that few of them use."""
    upright = factor * np.where(-seen.low > seen.high, -1.0, 1.0)
    more = gain_db(error(factor), error(upright)) if np.any(upright != factor) else 0.0
    return (upright, gained + more) if more >= least else (factor, gained)


def _climb(
    group: Group,
    reaches: Mapping[str, Vector],
    error: Callable[[Vector], Vector],
    given: Vector,
    before: Vector,
    least: float,
) -> tuple[Vector, Vector]:
    """The best strength among its neighbours, and its error."""
    tried: dict[int, tuple[Vector, Vector]] = {}

    def at(index: int) -> tuple[Vector, Vector]:
        if index not in tried:
            factor = given * factors(group, reaches, given, STRENGTHS[index])
            factor = factor.astype(np.float32).astype(np.float64)
            tried[index] = factor, error(factor)
        return tried[index]

    best, moved = max(BEGINNINGS, key=lambda index: gain_db(before, at(index)[1])), True
    if gain_db(before, at(best)[1]) < HOPELESS * least:
        return at(best)
    while moved:
        near = [index for index in (best - 1, best + 1) if 0 <= index < len(STRENGTHS)]
        better = max(near, key=lambda index: gain_db(at(best)[1], at(index)[1]))
        moved = gain_db(at(best)[1], at(better)[1]) > 0
        best = better if moved else best
    return at(best)


def factors(group: Group, reaches: Mapping[str, Vector], given: Vector, strength: float) -> Vector:
    """``1 / s`` for channels that are multiplied by ``given`` already; the loudest keeps 1, and so do those that are
    fixed or (almost) always zero."""
    loud, weight = np.zeros(len(given)), np.zeros(len(given))
    for reading in group.readings:
        channels = reading.channels
        np.maximum.at(loud, channels, _relative(reaches[reading.tensor] * given[channels]))
        for entries in reading.columns:
            np.maximum.at(weight, channels, _relative(np.abs(entries).max(axis=1, initial=0) / given[channels]))
    alive = (loud > QUIETEST) & (weight > QUIETEST) & ~group.fixed
    if not alive.any():
        return np.ones(len(given))
    divisor = np.where(alive, loud, 1) ** strength / np.where(alive, weight, 1) ** (1 - strength)
    return np.where(alive, divisor[alive].max() / divisor, 1)


def hoped_db(group: Group, reaches: Mapping[str, Vector]) -> float:
    """How much less noise the rounding of activations would add if weights cost nothing, in dB, in the layer that
    gains most: with one grid every channel is rounded as coarsely as the loudest, and what comes of it is
    ``sum |w|^2``; with channels of one range it is ``sum |w / k|^2``."""
    factor = factors(group, reaches, np.ones(len(group.fixed)), 1.0)
    gained = [0.0]
    for reading in group.readings:
        reach = reaches[reading.tensor]
        alive = reach > QUIETEST * reach.max()  # what is always zero is rounded to zero
        for entries in reading.columns:
            power = np.square(entries).sum(axis=1) * alive
            after = float((power / factor[reading.channels] ** 2).sum())
            gained.append(10 * np.log10(power.sum() / after) if after > 0 else 0.0)
    return max(gained)


def _relative(values: Vector) -> Vector:
    most = values.max(initial=0)
    return values / most if most > 0 else values
