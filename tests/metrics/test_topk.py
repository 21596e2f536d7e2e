"""Top-k: the label is among the k largest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.metrics import Metric, Top1, TopK
from onnxq.metrics.metric import Known

SCORES = np.array([[0.1, 0.4, 0.3, 0.2], [9, 1, 5, 2], [0, 0, 0, 0]], np.float32)
LABELS = np.array([3, 2, 1])


@pytest.mark.parametrize(("k", "right"), [(1, 0), (2, 2), (3, 3), (4, 3), (9, 3)])
def test_by_hand(k: int, right: int) -> None:
    metric: Metric = TopK(k)  # of the equal zeros, the first are the largest
    assert metric.measure({"y": SCORES}, LABELS) == pytest.approx(100 * right / 3)
    assert metric.name == f"top{k}"


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_against_a_loop(k: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 4, (count, 6)).astype(np.float32), rng.integers(0, 6, count)
    right = sum(
        label in sorted(range(6), key=lambda place: (-row[place], place))[:k]
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True)
    )
    assert TopK(k).measure({"y": scores}, labels) == pytest.approx(100 * right / count)


def test_batches_do_not_matter_and_top1_is_top_1() -> None:
    metric = TopK(2)
    parts = [metric.part({"y": SCORES[i : i + 1]}, Known(1, LABELS[i : i + 1])) for i in range(3)]
    assert metric.total(parts) == metric.measure({"y": SCORES}, LABELS)
    assert TopK(1).measure({"y": SCORES}, LABELS) == Top1().measure({"y": SCORES}, LABELS)


def test_nan_is_never_hidden() -> None:
    scores = np.array([[np.nan, 1, 2]])  # argmax gives the place of NaN
    assert [TopK(k).measure({"y": scores}, np.array([2])) for k in (1, 2)] == [0, 100]
    assert TopK(2).measure({"y": scores}, np.array([1])) == 0
