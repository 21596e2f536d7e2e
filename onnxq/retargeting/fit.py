"""A learned grid on a target's own: kept exactly where the target can express it, else the same range on a new grid.

Integers of the other sign are the same grid, shifted: ``(q - z) * s = ((q ± 128) - (z ± 128)) * s``.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxq.lifting.lift import LearnedWeight
from onnxq.scheme import ActivationSchemes, Integers, QParams, Range, Scheme, Steps, qparams
from onnxq.workspace import RoundedWeight

TOLERANCE = 1e-6  # of a scale that is computed again, in float32
COARSER = (1.05, 1.25, 1.5, 2.1)


@dataclass(frozen=True)
class Fit:
    """The grid for the target; ``reason`` says what was lost, empty where every integer stands for the same real.

    ``slower``: it was kept, though the target would rather have another, which the reason names.
    """

    params: QParams
    reason: str = ""
    slower: str = ""


def reals(params: QParams) -> Range:
    """The least and the greatest real that integers of the grid stand for; of all channels together."""
    bits = params.scheme.bits
    lowest = -(1 << (bits - 1)) if params.scheme.signed else 0
    scale, zero = params.scale.astype(np.float64), params.zero_point.astype(np.float64)
    low, high = (lowest - zero) * scale, (lowest + (1 << bits) - 1 - zero) * scale
    return Range(np.asarray(np.min(low)), np.asarray(np.max(high)))


def fit_activation(learned: QParams, schemes: ActivationSchemes, *, refit: bool = False) -> Fit:
    """The grid of one of ``schemes`` that is the learned one; or of its range, where there is none or at ``refit``."""
    found = reals(learned)
    best = schemes.of(_without_odd_end(learned, found))
    if narrow := _narrow(learned, schemes):
        return Fit(narrow)
    same = [exact(learned, scheme) for scheme in (best, schemes.non_negative, schemes.signed, schemes.lopsided)]
    kept = next((params for params in same if params is not None), None)
    if kept is None or (refit and same[0] is None):
        params = qparams(best, found)
        return Fit(params, f"{learned.scheme} becomes {best}: its range is kept, {_steps(learned, params)}")
    slower = "" if same[0] is not None else f"kept as {kept.scheme}, exactly; {best} would be faster (refit)"
    return Fit(kept, slower=slower)


def _narrow(learned: QParams, schemes: ActivationSchemes) -> QParams | None:
    """A grid of fewer bits than the target's, which its integers hold, clipped; None where it is none such."""
    if learned.scheme.bits >= min(schemes.signed.bits, 8) or schemes.signed.steps is Steps.LOGARITHMIC:
        return None
    each = (schemes.non_negative, schemes.signed, schemes.lopsided)
    same = [exact(learned, replace(scheme, bits=learned.scheme.bits)) for scheme in each]
    return next((params for params in same if params is not None), None)


def from_zero(fit: Fit, scheme: Scheme, activation: str) -> Fit:
    """The grid of what a Relu or Clip makes, from zero on, into which alone engines fuse that node.

    A Relu keeps its scale. A Clip keeps its range, since it must end where the grid does.
    """
    old = fit.params
    if int(old.zero_point) == scheme.lowest or (scheme.signed and scheme.symmetric):
        return fit
    high = float(reals(old).high)
    if activation == "Relu":
        scale = float(old.scale)
        made = replace(qparams(scheme, Range.of(0, (scheme.highest - scheme.lowest) * scale)), scale=old.scale)
        said = f"with the same scale; what is above {high:.4g} is clipped no more"
    else:
        made = qparams(scheme, Range.of(0, high))
        said = f"its range above zero is kept, {_steps(old, made)}"
    return Fit(made, f"{old.scheme} becomes {scheme} from zero, so that the {activation} fuses: {said}")


def _without_odd_end(learned: QParams, found: Range) -> Range:
    """-128 has no counterpart; a symmetric grid is not lopsided for it."""
    if learned.scheme.signed and learned.scheme.symmetric:
        return Range(-found.high, found.high)
    return found


def exact(learned: QParams, scheme: Scheme) -> QParams | None:
    """The learned grid as one of ``scheme``, or None where it cannot be that."""
    if learned.scheme.axis is not None or learned.scheme.bits != scheme.bits:
        return None
    zero = int(learned.zero_point) + _shift(learned.scheme, scheme)
    scale = float(learned.scale)
    span = Range.of((scheme.lowest - zero) * scale, (scheme.highest - zero) * scale)
    made = qparams(scheme, span)
    if int(made.zero_point) != zero or abs(float(made.scale) - scale) > TOLERANCE * scale:
        return None
    return replace(made, scale=learned.scale)


def _along(params: QParams, rank: int) -> NDArray[np.float32]:
    """The scales in a shape that broadcasts to the weight."""
    axis = params.scheme.axis
    return params.scale if axis is None else params.scale.reshape([-1 if a == axis else 1 for a in range(rank)])


def _shift(learned: Scheme, scheme: Scheme) -> int:
    half = 1 << (learned.bits - 1)
    return (int(learned.signed) - int(scheme.signed)) * half


def _steps(learned: QParams, made: QParams) -> str:
    """What becomes of the resolution, in few words, so that tensors of one fate are counted together."""
    if made.scheme.steps is Steps.LOGARITHMIC:
        return "its steps are of another kind"
    ratio = float(np.max(made.scale)) / float(np.max(learned.scale))
    if ratio < 0.98:
        return "its steps are finer"
    bound = next((bound for bound in COARSER if ratio <= bound), None)
    return (
        f"its steps are up to {bound:g} times as wide"
        if bound is not None
        else f"its steps are {ratio:.0f} times wider"
    )


def fit_weight(learned: LearnedWeight, scheme: Scheme) -> RoundedWeight | None:
    """The learned integers on a grid that ``scheme`` allows, or None where there is none."""
    old = learned.params
    if old.scheme.bits > scheme.bits or old.scheme.axis not in (None, scheme.axis):
        return None
    shift = _shift(old.scheme, scheme)
    zero = old.zero_point.astype(np.int64) + shift
    if (zero.any() and scheme.symmetric) or not _spaced(old.scale, scheme):
        return None
    # A channel whose scale is zero is zero; engines refuse such a scale, and zero has any.
    wide = learned.integers.astype(np.int64) + shift
    integers: Integers = np.where(_along(old, wide.ndim) > 0, wide, 0).astype(scheme.dtype)
    scale = np.where(old.scale > 0, old.scale, 1).astype(np.float32)
    zero = np.where(old.scale > 0, zero, 0)
    kept = replace(scheme, axis=old.scheme.axis, bits=old.scheme.bits)
    return RoundedWeight(integers, QParams(kept, np.asarray(scale), zero.astype(scheme.dtype)))


def _spaced(scale: NDArray[np.float32], scheme: Scheme) -> bool:
    """Whether the steps of the scheme may have these scales."""
    if scheme.steps is Steps.POWER_OF_TWO:
        return bool(np.all(np.frexp(scale)[0] == 0.5))
    return scheme.steps is Steps.EVEN
