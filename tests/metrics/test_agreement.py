"""Agreement with a reference: where the largest number stands."""

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.metrics.agreement import Agreement
from onnxq.metrics.metric import Known

REAL = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.1]])


def measured(metric: Agreement, made: np.ndarray, real: np.ndarray) -> float:
    halves = [slice(0, 1), slice(1, None)]
    return metric.total(
        [metric.part({"y": made[half]}, Known(len(made[half]), None, {"y": real[half]})) for half in halves]
    )


def test_by_hand() -> None:
    assert measured(Agreement(), REAL, REAL) == 100
    assert measured(Agreement(), 1 - REAL, REAL) == 0
    assert measured(Agreement(), np.where(np.arange(4)[:, None] == 2, 1 - REAL, REAL), REAL) == 75


def test_of_segmentation_along_its_classes() -> None:
    real = np.zeros((2, 3, 4, 5))
    real[:, 1] = 1
    made = real.copy()
    made[1, 2, 0, 0] = 2
    assert measured(Agreement(axis=1), made, real) == 100 * 39 / 40


def test_what_has_no_classes_is_refused() -> None:
    with pytest.raises(DataError, match="classes along axis -1"):
        measured(Agreement(), REAL[:, :1], REAL[:, :1])
    with pytest.raises(DataError, match="classes along axis 2"):
        measured(Agreement(axis=2), REAL, REAL)
    with pytest.raises(DataError, match="compares with a reference"):
        Agreement().part({"y": REAL}, Known(4))
