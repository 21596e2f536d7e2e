"""How quantities are written: with a unit, and no more digits than mean something."""

import math

NOTHING = "–"


def decibel(value: float | None) -> str:
    """A ratio in dB; of equal arrays it is infinite."""
    if value is None or math.isnan(value):
        return NOTHING
    return "exact" if value == math.inf else f"{value:.1f} dB" if math.isfinite(value) else "unlike"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent; what is more than nothing never reads as nothing."""
    if share is None:
        return NOTHING
    if share == 0:
        return "0 %"
    said = f"{100 * share:.{digits}f}"
    return f"{100 * share:.1g} %" if share > 0 and float(said) == 0 else f"{said} %"


def many(count: float | None) -> str:
    """A count with k, M or G."""
    if count is None:
        return NOTHING
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= scale:
            return f"{count / scale:.3g} {letter}"
    return f"{count:.0f}"


def size(amount: int) -> str:
    """Bytes."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= scale / 10:
            return f"{amount / scale:.2f} {unit}"
    return f"{amount} bytes"


def duration(seconds: float) -> str:
    """A time per run."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
