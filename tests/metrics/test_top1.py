"""Top-1: the largest number stands where the label says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.metrics import Metric, Top1


def test_top1() -> None:
    outputs: dict[str, NDArray[np.generic]] = {"scores": np.eye(4, dtype=np.float32)[:, None], "other": np.zeros(4)}
    metric: Metric = Top1()
    assert metric.measure(outputs, np.array([0, 1, 2, 0])) == 75
    assert (metric.name, metric.unit) == ("top1", "%")


def test_an_output_is_chosen_by_name() -> None:
    outputs: dict[str, NDArray[np.generic]] = {"y": np.eye(2), "z": np.eye(2)[::-1]}
    assert Top1("z").measure(outputs, np.array([1, 0])) == 100
    with pytest.raises(DataError, match=r"unknown output 'zz'\. Did you mean 'z'\?"):
        Top1("zz").measure(outputs, np.array([1, 0]))


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"output 'y' is float64\[4,2\] and there are 3 samples"):
        Top1().measure({"y": np.zeros((4, 2))}, np.zeros(3, int))
    with pytest.raises(DataError, match=r"these are float64\[4\]"):
        Top1().measure({"y": np.zeros((4, 2))}, np.zeros(4))
