"""How much of an answer is error."""

import numpy as np

from onnxq.inputs import Array


def sqnr_db(reference: Array, other: Array) -> float:
    """Signal over error in dB: infinite for equal arrays; NaN and infinity must stand in the same places."""
    if reference.shape != other.shape:
        return -np.inf
    if np.array_equal(reference, other, equal_nan=reference.dtype.kind in "fc"):
        return np.inf
    if reference.dtype.kind not in "fc":
        return -np.inf
    finite = np.isfinite(reference)
    if not np.array_equal(finite, np.isfinite(other)):
        return -np.inf
    signal = reference[finite].astype(np.float64)
    noise = signal - other[finite].astype(np.float64)
    power, error = float(np.sum(signal**2)), float(np.sum(noise**2))
    return float(10 * np.log10(power / error)) if power > 0 and error > 0 else (np.inf if error == 0 else -np.inf)
