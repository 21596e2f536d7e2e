"""The percentile range, against numpy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.calibrators import Percentile
from onnxq.errors import RecipeError
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

U8 = Scheme(signed=False, symmetric=False)
SCHEMES = ActivationSchemes(U8, U8, U8)


@given(st.sampled_from([60.0, 90.0, 99.0, 99.9]), st.integers(0, 99))
def test_the_range_is_numpy_s_within_one_percent(percentile: float, seed: int) -> None:
    values = normal(9_973, seed=seed, scale=3)
    found = Percentile(percentile).range(TensorStatistics.of(values), SCHEMES)
    # Which of the two values beside the point is the percentile, is a matter of definition.
    for share, end in ((percentile, found.high), (100 - percentile, found.low)):
        beside = [np.percentile(values, share, method=method) for method in ("lower", "higher")]
        assert any(end == pytest.approx(value, rel=0.01) for value in beside)


def test_all_of_it_is_exact() -> None:
    values = normal(1000)
    found = Percentile(100).range(TensorStatistics.of(values), SCHEMES)
    assert (found.low, found.high) == (values.min(), values.max())


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sided_tensors_keep_zero(sign: int) -> None:
    values = sign * np.abs(normal(10_000))
    found = Percentile(99).range(TensorStatistics.of(values), SCHEMES)
    inner, outer = (found.low, found.high)[::sign]
    assert 0 <= abs(inner) <= np.abs(values).min()
    assert sign * outer == pytest.approx(np.percentile(np.abs(values), 99), rel=0.01)


@pytest.mark.parametrize("percentile", [50, 100.1, -1, float("nan")])
def test_a_percentile_that_is_none_is_refused(percentile: float) -> None:
    with pytest.raises(RecipeError, match="percentile"):
        Percentile(percentile)
