"""What holds for every calibrator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.calibrators import CALIBRATORS
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal

SCHEMES = ActivationSchemes(Scheme(False, True), Scheme(True, True), Scheme(False, False))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(0, 60), max_size=4), st.integers(0, 99), st.sampled_from([-9, 0, 9]))
def test_parts_merged_in_order_give_what_the_whole_does(count: int, cuts: list[int], seed: int, shift: int) -> None:
    values = normal(count, 7, seed=seed) + np.float32(shift)
    parts = [TensorStatistics.of(part) for part in np.split(values, sorted(cuts))]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    for kind in CALIBRATORS.values():
        assert kind().range(merged, SCHEMES) == kind().range(TensorStatistics.of(values), SCHEMES)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_of_nothing_but_zeros_the_range_is_zero(name: str) -> None:
    found = CALIBRATORS[name]().range(TensorStatistics.of(np.zeros((2, 3), np.float32)), SCHEMES)
    assert found.low == found.high == 0


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("values", [[0.0, 1e-30], [-3e38, 3e38], [2.0], [-7.0, -6.0], [1e-20, 1e20]])
def test_extreme_tensors_have_a_range(name: str, values: list[float]) -> None:
    statistics = TensorStatistics.of(np.array([values], np.float32))
    found = CALIBRATORS[name]().range(statistics, SCHEMES)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low < 0 or found.high > 0
