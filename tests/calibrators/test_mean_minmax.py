"""The mean of the extremes of every sample is numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.calibrators import MeanMinMax
from onnxq.scheme import ActivationSchemes, Range, Scheme
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

U8 = ActivationSchemes.always(Scheme(False, False))


def by_numpy(values: NDArray[np.float32]) -> Range:
    """In float64, which adds a few float32 numbers exactly enough."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    return Range.of(rows.min(axis=1).mean(), rows.max(axis=1).mean())


@given(st.integers(1, 2000), st.integers(0, 99), st.floats(1e-3, 1e3))
def test_the_range_is_numpy_s(count: int, seed: int, scale: float) -> None:
    values = normal(count, 3, 2, seed=seed, scale=scale)
    found, expected = MeanMinMax().range(TensorStatistics.of(values, MeanMinMax.histogram), U8), by_numpy(values)
    assert float(found.low) == pytest.approx(float(expected.low), rel=1e-12)
    assert float(found.high) == pytest.approx(float(expected.high), rel=1e-12)


def test_one_outlier_counts_as_one_sample() -> None:
    values = normal(100, 50)
    values[7, 3] = 1000
    found = MeanMinMax().range(TensorStatistics.of(values), U8)
    assert found == by_numpy(values) and found.high < 15
