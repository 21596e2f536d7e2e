"""Statistics merge exactly, and their histogram is true to 1 %."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq.statistics import BUCKETS, Count, TensorStatistics
from onnxq.testing import normal
from onnxq.thinning import ROW


def equal(one: TensorStatistics, other: TensorStatistics) -> bool:
    assert one.counts is not None and other.counts is not None
    extremes = np.array_equal([one.low, one.high], [other.low, other.high], equal_nan=True)
    return extremes and np.array_equal(one.counts, other.counts)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.randoms(use_true_random=False),
)
def test_the_statistics_of_the_parts_in_any_order_are_those_of_the_whole(
    values: list[float], cuts: list[int], shuffle: object
) -> None:
    whole: NDArray[np.float32] = np.array(values, np.float32).reshape(-1, 1)
    parts = [TensorStatistics.of(part) for part in np.split(whole, sorted(cuts))]
    shuffle.shuffle(parts)  # type: ignore[attr-defined]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert equal(merged, TensorStatistics.of(whole))


@pytest.mark.parametrize("rows", [(1, 5), (3, 3)])
def test_of_a_large_tensor_the_same_part_is_counted_however_it_is_split(rows: tuple[int, int]) -> None:
    values = normal(sum(rows), 3, ROW - 7)
    parts = [TensorStatistics.of(part) for part in np.split(values, [rows[0]])]
    whole = TensorStatistics.of(values)
    assert equal(parts[0].merge(parts[1]), whole)
    assert (whole.low, whole.high) == (values.min(), values.max())
    assert whole.counts is not None and whole.counts.sum() / values.size == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape", [(16, 70, 90), (300, 64), (20_000,)])
def test_a_part_counts_as_all_values_do_and_its_tail_is_complete(shape: tuple[int, ...]) -> None:
    values = (normal(40, *shape) ** 3).astype(np.float32)  # a heavy tail
    values[3].reshape(-1)[1] = 500  # beyond all others, and in no place that is counted
    found, counts = TensorStatistics.of(values).histogram()
    for share in (0.5, 0.9, 0.99, 0.999):
        limit = np.quantile(np.abs(values), share)
        assert counts[np.abs(found) > limit].sum() / values.size == pytest.approx(1 - share, rel=0.12)
    assert counts[found == 500].sum() == (values == 500).sum()


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6), st.floats(0.01, 0.99))
def test_quantiles_are_within_one_percent(seed: int, scale: float, share: float) -> None:
    values = (np.random.default_rng(seed).standard_normal(2000) * scale).astype(np.float32)
    found, counts = TensorStatistics.of(values).histogram()
    position = round(share * 1999)
    quantile = np.repeat(found, counts)[position]
    assert quantile == pytest.approx(np.sort(values)[position], rel=0.01)
    assert np.all(np.diff(found) > 0) and counts.sum() == 2000


def test_extremes_are_exact_and_zeros_stay_zero() -> None:
    values = np.array([0.0, -0.0, -1.003, 1.003, 0.5], np.float32)
    statistics = TensorStatistics.of(values)
    assert (statistics.low, statistics.high) == (values[2], values[3])
    found, counts = statistics.histogram()
    assert counts[found == 0].sum() == 2
    assert found.min() >= values[2] and found.max() <= values[3]


def test_what_is_not_finite_is_known_and_not_in_the_histogram() -> None:
    for odd in (np.nan, np.inf, -np.inf):
        parts = [TensorStatistics.of(np.array([value], np.float32)) for value in (1.0, odd)]
        for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
            assert not merged.finite
            assert merged.histogram()[1].sum() == 1
    assert TensorStatistics.of(np.ones(3, np.float32)).finite


def test_zeros_are_not_excited_and_nothing_at_all_is_not_finite() -> None:
    assert not TensorStatistics.of(np.zeros((2, 3), np.float32)).excited
    assert TensorStatistics.of(np.array([[0, -1]], np.float32)).excited
    empty = TensorStatistics.of(np.zeros((0, 3), np.float32))
    assert not empty.finite
    assert equal(empty.merge(TensorStatistics.of(np.ones(2, np.float32))), TensorStatistics.of(np.ones(2, np.float32)))


def test_without_a_histogram_only_extremes_are_kept() -> None:
    bare = TensorStatistics.of(np.ones(2, np.float32), histogram=False)
    merged = bare.merge(TensorStatistics.of(-np.ones(2, np.float32)))
    assert (merged.low, merged.high, merged.counts) == (-1, 1, None)
    with pytest.raises(ValueError, match="only extremes"):
        merged.histogram()


@pytest.mark.parametrize("shape", [(6, 5), (12, 5), (6, 2, 3), (60,)])
def test_each_sample_s_extremes_are_known_where_rows_tell_which_sample_they_are_of(shape: tuple[int, ...]) -> None:
    values, count = normal(*shape), Count()
    for part in np.split(values, 3):
        count.add(part, 2)
    found, rows = count.kept().samples, values.reshape(6, -1)
    assert found is not None and found.count == 6
    assert np.array_equal(found.latest, np.stack([rows.min(axis=1), rows.max(axis=1)], axis=1))


@pytest.mark.parametrize("shape", [(5, 4), ()])
def test_what_cannot_be_split_counts_as_the_same_for_each_of_its_samples(shape: tuple[int, ...]) -> None:
    values, count = normal(*shape), Count(histogram=False)
    count.add(values, 3)
    found = count.kept().samples
    assert found is not None and np.array_equal(found.latest, [[values.min(), values.max()]] * 3)


def test_a_count_becomes_wider_when_it_would_overflow_and_not_before() -> None:
    def seen(times: int) -> TensorStatistics:
        return TensorStatistics(1, 1, np.full(BUCKETS, times, np.uint32))

    most = 2**32 - 1
    narrow, wide = seen(most - 1).merge(seen(1)), seen(most).merge(seen(1))
    assert narrow.counts is not None and (narrow.counts.dtype.name, narrow.counts.max()) == ("uint32", most)
    assert wide.counts is not None and (wide.counts.dtype.name, wide.counts.max()) == ("int64", most + 1)
    again = seen(1).merge(wide).counts
    assert again is not None and again.min() == most + 2


def test_what_watches_a_tensor_takes_less_than_300_kilobytes() -> None:
    tracemalloc.start()
    count = Count()
    for seed in range(400):
        count.add(normal(3, 70, seed=seed), 3)
    kept = sum(stat.size for stat in tracemalloc.take_snapshot().statistics("filename"))
    tracemalloc.stop()
    assert count.kept().counts is not None and kept < 300_000
