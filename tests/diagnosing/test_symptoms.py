"""What is wrong with a layer, read from its numbers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.diagnosing.diagnose import diagnose
from onnxq.diagnosing.symptoms import Symptom, spreads
from onnxq.testing import normal, parse

ONE = "one (float[N,4,8,8] x) => (float[N,6,8,8] y) { [conv] y = Conv(x, w, b) }"
RECIPE = {"passes": ["plan", "calibrate", {"round_weights": {"per_channel": False}}, "insert_qdq"]}


def wrong(weight: NDArray[Any], x: NDArray[Any], **calibrate: object) -> dict[str, Symptom]:
    """The symptoms by kind and place."""
    model = parse(ONE, 17, w=weight.astype(np.float32), b=np.zeros(6, np.float32))
    recipe = {"passes": [{"calibrate": calibrate} if step == "calibrate" else step for step in RECIPE["passes"]]}
    found = diagnose(model, {"x": x.astype(np.float32)}, backend="openvino", recipe=recipe, budget=5)
    return {f"{one.kind} of {one.where} at {layer}": one for layer, some in found.symptoms.items() for one in some}


def test_a_healthy_layer_has_none() -> None:
    assert wrong(normal(6, 4, 1, 1), normal(16, 4, 8, 8, seed=1)) == {}


def test_outliers_and_channels_that_are_rounded_away() -> None:
    weight = np.abs(normal(6, 4, 1, 1)) + 1
    weight[2] *= 1000
    weight[4] = 0
    found = wrong(weight, normal(16, 4, 8, 8, seed=1))
    reach = np.abs(weight).max((1, 2, 3))
    outlier = found["outlier_channel of weights at conv"]
    assert outlier.size == pytest.approx(reach.max() / np.median(reach[reach > 0]))
    assert "channel 2 of 'w'" in outlier.said and "has 0.0 of 8 bits left" in outlier.said
    assert found["rounded_away of weights at conv"].said.startswith("4 of its 6 output channels are")
    assert found["dead_channels of weights at conv"].size == pytest.approx(1 / 6)
    assert spreads({"conv": list(found.values())})["conv"] >= outlier.size


def test_a_range_eaten_by_one_value() -> None:
    x = normal(16, 4, 8, 8, seed=1)
    x[3, 1, 2, 2] = 1e4
    found = wrong(normal(6, 4, 1, 1), x, activations="minmax")
    assert "bits from all others" in found["eaten_range of activations at (input)"].said
    assert not any(key.startswith("saturation") for key in found)


def test_saturation() -> None:
    found = wrong(normal(6, 4, 1, 1), normal(16, 4, 8, 8, seed=1), activations="percentile", percentile=90)
    assert found["saturation of activations at (input)"].size == pytest.approx(0.2, abs=0.02)  # a tenth at either end
