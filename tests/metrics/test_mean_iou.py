"""Mean IoU: by hand, and against sets of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.errors import DataError
from onnxq.metrics import Metric
from onnxq.metrics.mean_iou import MeanIoU
from onnxq.metrics.metric import Known

TRUTH = np.array([[[0, 0, 1], [1, 255, 2]]])
MADE = np.array([[[0, 1, 1], [1, 0, 2]]])  # class 0: 1 of 2, class 1: 2 of 3, class 2: 1 of 1
WANTED = 100 * (1 / 2 + 2 / 3 + 1) / 3


def scores(made: np.ndarray, classes: int, axis: int = 1) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[made], -1, axis)


def test_by_hand() -> None:
    metric: Metric = MeanIoU()
    assert metric.measure({"y": scores(MADE, 5)}, TRUTH) == pytest.approx(WANTED)  # two classes occur nowhere
    assert metric.measure({"y": MADE}, TRUTH) == pytest.approx(WANTED)
    assert metric.measure({"y": MADE.astype(np.float32)}, TRUTH.astype(np.uint8)) == pytest.approx(WANTED)
    assert MeanIoU(axis=-1).measure({"y": scores(MADE, 3, -1)}, TRUTH) == pytest.approx(WANTED)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_against_sets_of_pixels_for_any_batches(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    truth, made = rng.integers(0, 4, (6, 3, 3)), rng.integers(0, 4, (6, 3, 3))
    truth[rng.random(truth.shape) < 0.2] = 9
    truth[0, 0, 0] = 0
    shares = []
    for kind in range(4):
        real = {tuple(place) for place in np.argwhere(truth == kind)}
        found = {tuple(place) for place in np.argwhere((made == kind) & (truth != 9))}
        if real | found:
            shares.append(len(real & found) / len(real | found))
    metric = MeanIoU(ignore=9)
    parts = [
        metric.part({"y": made[part]}, Known(len(made[part]), truth[part])) for part in (slice(0, cut), slice(cut, 6))
    ]
    assert metric.total(parts) == pytest.approx(100 * np.mean(shares))


@pytest.mark.parametrize(
    ("output", "labels", "said"),
    [
        (scores(MADE, 3), np.array([1]), "wants a class for every pixel"),
        (scores(MADE, 3), TRUTH[:, :1], "the output is"),
        (scores(MADE, 2 + 1)[:, :2], TRUTH, "a label is 2, and the output has 2 classes"),
        (MADE, np.full_like(TRUTH, 255), "every label is 255"),
        (MADE, TRUTH - 1, "classes count from 0"),
    ],
)
def test_what_does_not_fit_is_refused(output: np.ndarray, labels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        MeanIoU().measure({"y": output}, labels)
