"""The moving average, against its formula, one sample after the other."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.calibrators import MovingAverage
from onnxq.errors import RecipeError
from onnxq.sample_extremes import LATEST
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

U8 = ActivationSchemes.always(Scheme(False, False))


def step_by_step(values: NDArray[np.float32], constant: float) -> tuple[float, float]:
    low, high = float(values[0].min()), float(values[0].max())
    for sample in values[1:]:
        low += constant * (float(sample.min()) - low)
        high += constant * (float(sample.max()) - high)
    return low, high


@pytest.mark.parametrize("constant", [0.001, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 300, LATEST])
def test_the_range_is_that_of_the_formula(constant: float, count: int) -> None:
    values = normal(count, 6) * np.linspace(1, 3, count, dtype=np.float32)[:, None]
    found = MovingAverage(constant).range(TensorStatistics.of(values, MovingAverage.histogram), U8)
    assert (found.low, found.high) == pytest.approx(step_by_step(values, constant), rel=1e-9)


def test_of_many_samples_the_earlier_ones_count_as_their_mean() -> None:
    values = normal(3 * LATEST, 6)
    statistics = TensorStatistics.of(values)
    found = MovingAverage().range(statistics, U8)
    assert (found.low, found.high) == pytest.approx(step_by_step(values, 0.01), rel=1e-4)
    mean = values[:-LATEST].min(axis=1).mean(), values[:-LATEST].max(axis=1).mean()
    slow = MovingAverage(1e-9).range(statistics, U8)
    assert (slow.low, slow.high) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("constant", [0.0, -0.1, 1.1, float("nan")])
def test_a_constant_that_is_none_is_refused(constant: float) -> None:
    with pytest.raises(RecipeError, match=r"constant: .* is not above 0 and at most 1"):
        MovingAverage(constant)
