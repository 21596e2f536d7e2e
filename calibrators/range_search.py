"""The range that costs least, by a search over both of its ends.

Candidates are fractions of the exact extremes, of both ends at once where the grid is asymmetric. The best by the
formula are measured, and the neighbours of the best of these, ever nearer. Where only some grids exist, as with
scales that are powers of two, those are the candidates.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from onnxq.calibrators.rounding_error import Floats, RoundingError, itself
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, held, qparams
from onnxq.statistics import TensorStatistics

FRACTIONS = np.geomspace(0.02, 1.0, 48)
MEASURED = 48
NEARER = (np.geomspace(0.9, 1.1, 15), np.geomspace(0.98, 1.02, 9), np.geomspace(0.995, 1.005, 5))  # of the best so far
NARROWEST = 1 / 16  # of the extremes, where only some grids exist


class Cost(Protocol):
    """What makes one range worse than another."""

    def measured(self, low: Floats, high: Floats, scheme: Scheme, /) -> Floats:
        """[ranges]: of the range from each ``low`` to each ``high`` on the grid of ``scheme``."""


def least_error(
    statistics: TensorStatistics,
    schemes: ActivationSchemes,
    through: Function | None,
    p: float = 2.0,
    measured: int = MEASURED,
) -> Range:
    """The range whose summed error to the power ``p`` is least, on the grid it has by ``schemes``."""
    values, counts = statistics.histogram()
    error = RoundingError(values, counts.astype(np.float64), through or itself, p)
    full = Range.of(statistics.low, statistics.high)
    return on_its_grid(full, schemes, lambda scheme: search(error, full, scheme, measured))


def on_its_grid(full: Range, schemes: ActivationSchemes, searched: Callable[[Scheme], Range]) -> Range:
    """What is ``searched`` on the grid that it has by ``schemes``; a lopsided range may be even without its longer
    tail."""
    scheme = schemes.of(full)
    found = searched(scheme)
    clipped = schemes.of(found)
    return found if clipped == scheme else searched(clipped)


def search(error: RoundingError, full: Range, scheme: Scheme, measured: int = MEASURED) -> Range:
    """The best range within ``full`` on the grid of ``scheme``."""
    low, high = min(float(full.low), 0.0), max(float(full.high), 0.0)
    if scheme.steps is Steps.EVEN:
        lows, highs = fractions(scheme, low, high)
        estimated = error.estimated(lows, highs, scheme)
        good = np.argsort(estimated.ravel(), kind="stable")[:measured]
        whole = Range(lows.min(), highs.max())
        lows, highs = (np.broadcast_to(ends, estimated.shape).ravel()[good] for ends in (lows, highs))
        found = best(error, lows, highs, scheme)
        step = (found.high - found.low) / (scheme.highest - scheme.lowest)
        found = nearby(error.spread(float(step), whole), found, whole, scheme)
    else:
        found = best(error, *existing(scheme, low, high), scheme)
    return Range(found.low if low < 0 else full.low, found.high)


def best(cost: Cost, lows: Floats, highs: Floats, scheme: Scheme) -> Range:
    """Of the ranges from ``lows`` to ``highs``."""
    at = np.argmin(cost.measured(lows, highs, scheme))
    return Range(lows[at], highs[at])


def nearby(cost: Cost, found: Range, full: Range, scheme: Scheme, nearer: Sequence[Floats] = NEARER) -> Range:
    """The best of the neighbours of ``found`` within ``full``; where each end has its own, one after the other."""
    for near in nearer:
        for moves in ((near, 1.0), (1.0, near)) if both_ends(scheme, found) else ((near, near),):
            lows, highs = np.broadcast_arrays(found.low * moves[0], found.high * moves[1])
            found = best(cost, np.maximum(lows, full.low), np.minimum(highs, full.high), scheme)
    return found


def both_ends(scheme: Scheme, found: Range) -> bool:
    """Whether a grid can reach farther on one side of zero than on the other."""
    return bool(found.low < 0 < found.high) and not scheme.symmetric


def fractions(scheme: Scheme, low: float, high: float) -> tuple[Floats, Floats]:
    """Of each end; of both ends, [lows, 1] and [1, highs]."""
    if both_ends(scheme, Range.of(low, high)):
        return low * FRACTIONS[:, None], high * FRACTIONS[None]
    reach = max(-low, high) * FRACTIONS
    return -reach if low < 0 else 0 * reach, reach if high > 0 or scheme.symmetric else 0 * reach


def existing(scheme: Scheme, low: float, high: float) -> tuple[Floats, Floats]:
    """The ends of every grid there is from the one that holds ``low`` and ``high`` down to narrow ones."""
    whole = held(qparams(scheme, Range.of(low, high)))
    step = scheme.steps.value
    narrower = step ** -np.arange(1 + int(-np.log(NARROWEST) / np.log(step)), dtype=np.float64)
    return whole.low * narrower, whole.high * narrower
