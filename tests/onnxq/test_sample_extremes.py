"""The extremes of every sample: sums are exact, and parts in order give what the whole does."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.sample_extremes import LATEST, UNIT, Extremes, SampleExtremes, exact_sum
from onnxq.testing import normal


def same(one: SampleExtremes, other: SampleExtremes) -> bool:
    sums = (one.count, one.low_sum, one.high_sum) == (other.count, other.low_sum, other.high_sum)
    return sums and np.array_equal(one.latest, other.latest)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=30))
def test_sums_are_exact(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction(0))
    assert Fraction(exact_sum(np.array(values, np.float32)), 2**UNIT) == exact


def test_sums_of_what_float64_cannot_add_are_exact() -> None:
    values = np.array([3e38, 1e-45, -3e38], np.float32)
    assert exact_sum(values) == 1
    assert exact_sum(np.repeat(values[:1], 1000)) == 1000 * exact_sum(values[:1])


@given(st.integers(1, 3000), st.lists(st.integers(0, 3000), max_size=4), st.integers(0, 99))
def test_parts_in_order_give_what_the_whole_does(count: int, cuts: list[int], seed: int) -> None:
    pairs = normal(count, 2, seed=seed)
    parts = [SampleExtremes.of(part) for part in np.split(pairs, sorted(cuts))]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert same(merged, SampleExtremes.of(pairs))
    assert np.array_equal(merged.latest, pairs[-LATEST:])


@pytest.mark.parametrize("batch", [1, 7, 256, 300])
def test_samples_can_come_a_few_at_a_time(batch: int) -> None:
    pairs, collected = normal(2000, 2), Extremes()
    for start in range(0, 2000, batch):
        collected.add(*pairs[start : start + batch].T)
    assert same(collected.kept(), SampleExtremes.of(pairs))


def test_the_mean_is_numpy_s_and_the_earlier_samples_are_those_before_the_latest() -> None:
    pairs = normal(LATEST + 500, 2).astype(np.float32)
    found = SampleExtremes.of(pairs)
    assert found.mean == pytest.approx(pairs.astype(np.float64).mean(axis=0), rel=1e-12)
    assert found.earlier.count == 500
    assert found.earlier.mean == pytest.approx(pairs[:500].astype(np.float64).mean(axis=0), rel=1e-12)
    assert SampleExtremes.of(pairs[:3]).earlier.count == 0


def test_samples_that_are_not_finite_are_left_out() -> None:
    pairs: NDArray[np.float32] = np.array([[-1, 1], [-np.inf, 2], [np.nan, np.nan], [-3, 3]], np.float32)
    found = SampleExtremes.of(pairs)
    assert (found.count, found.mean) == (2, (-2, 2))
    assert np.isnan(SampleExtremes.of(pairs[:0]).mean).all()
