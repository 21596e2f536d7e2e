"""SQNR over batches is that of everything at once."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.metrics.metric import Known
from onnxq.metrics.sqnr import Sqnr
from onnxq.testing import normal

REAL, MADE = normal(10, 3, 2), normal(10, 3, 2) + 0.1 * normal(10, 3, 2, seed=1)


def test_any_batches_give_the_same_bits() -> None:
    wanted = 10 * np.log10(np.sum(np.float64(REAL) ** 2) / np.sum((np.float64(REAL) - MADE) ** 2))
    for size in (1, 3, 10):
        cuts = [slice(start, start + size) for start in range(0, 10, size)]
        parts = [Sqnr().part({"y": MADE[cut]}, Known(len(MADE[cut]), None, {"y": REAL[cut]})) for cut in cuts]
        assert Sqnr().total(parts) == pytest.approx(wanted, abs=1e-9)
        assert Sqnr().total(parts) == Sqnr().total(parts[::-1])


def test_the_worst_output_or_the_one_named() -> None:
    reference: dict[str, NDArray[np.generic]] = {"a": REAL, "b": REAL, "i": np.arange(10)}
    made = {"a": MADE, "b": REAL, "i": np.zeros(10)}
    known = Known(10, None, reference)
    assert 15 < Sqnr().total([Sqnr().part(made, known)]) < 25
    assert Sqnr("b").total([Sqnr("b").part(made, known)]) == math.inf
    with pytest.raises(DataError, match="unknown output of floats 'i'"):
        Sqnr("i").part(made, known)


def test_what_is_not_finite_is_all_error() -> None:
    broken = MADE.copy()
    broken[3] = np.nan
    assert Sqnr().total([Sqnr().part({"y": broken}, Known(10, None, {"y": REAL}))]) == -math.inf
    masked = REAL.copy()
    masked[0] = -np.inf
    both = {"y": np.where(np.isinf(masked), masked, MADE)}
    assert Sqnr().total([Sqnr().part(both, Known(10, None, {"y": masked}))]) > 15


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="compares with a reference"):
        Sqnr().part({"y": MADE}, Known(10))
    with pytest.raises(DataError, match=r"output 'y' is missing, and of the reference \[10, 3, 2\]"):
        Sqnr().part({}, Known(10, None, {"y": REAL}))
    with pytest.raises(DataError, match="no output of floats"):
        Sqnr().total([Sqnr().part({"y": np.arange(3)}, Known(3, None, {"y": np.arange(3)}))])
