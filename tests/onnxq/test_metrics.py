"""Metrics in percent, and how a card chooses one."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.boxes import anchor_grid
from onnxq.errors import DataError, RecipeError
from onnxq.metrics import BoxAP, Metric, Top1, metric_of
from onnxq.models.card import Card
from onnxq.preprocess import Preprocessing

BOX = np.array([40.0, 20, 80, 60])  # x1, y1, x2, y2 in a picture 128 wide and 96 high


def card(**fields: object) -> Card:
    base: dict[str, object] = {
        "name": "n",
        "summary": "s",
        "model": "m",
        "licence": "l",
        "made": "by hand",
        "inputs": {"x": {"shape": ["N", 3, 64, 64], "dtype": "float32"}},
        "calibration": "c",
    }
    return Card.model_validate(base | fields)


def truth(folder: Path) -> Path:
    box = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [40, 20, 40, 40], "area": 1600, "iscrowd": 0}
    images = [{"id": 5, "height": 96, "width": 128}]
    dataset = {"images": images, "categories": [{"id": 1}], "annotations": [box]}
    (folder / "instances.json").write_text(json.dumps(dataset))
    return folder / "instances.json"


def raw(corners: NDArray[np.float64]) -> NDArray[np.float32]:
    """The head's output for one box in pixels of a 64 x 64 input."""
    grid = anchor_grid((64, 64), (8, 16))
    output = np.zeros((1, len(grid), 6), np.float32)
    centre, side = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    output[0, 10] = [*(centre / 8 - grid[10, :2]), *np.log(side / 8), 0.9, 0.9]
    return output


def test_top1() -> None:
    outputs: dict[str, NDArray[np.generic]] = {
        "scores": np.eye(4, dtype=np.float32)[:, None],
        "other": np.zeros(4),
    }
    metric: Metric = Top1()
    assert metric.measure(outputs, np.array([0, 1, 2, 0])) == 75
    assert (metric.name, metric.unit) == ("top1", "%")


def test_top1_refuses_labels_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"output 'y' is float64\[4,2\] and there are 3 labels"):
        Top1().measure({"y": np.zeros((4, 2))}, np.zeros(3, int))
    with pytest.raises(DataError, match=r"these are float64\[4\]"):
        Top1().measure({"y": np.zeros((4, 2))}, np.zeros(4))


@pytest.mark.parametrize(
    ("preprocessing", "corners"),
    [
        (Preprocessing(resize=64), BOX * [0.5, 2 / 3, 0.5, 2 / 3]),
        (Preprocessing(resize=64, fit="letterbox"), BOX * 0.5),
        (Preprocessing(resize=96, fit="shorter", crop=64), BOX - [32, 16, 32, 16]),
    ],
)
def test_boxes_are_measured_in_the_picture(
    tmp_path: Path, preprocessing: Preprocessing, corners: NDArray[np.float64]
) -> None:
    metric = BoxAP(truth(tmp_path), (64, 64), preprocessing, strides=(8, 16))
    assert metric.measure({"y": raw(corners)}, np.array([5])) == pytest.approx(100)
    assert metric.measure({"y": raw(corners + 3)}, np.array([5])) < 90


def test_box_ap_refuses_what_does_not_fit(tmp_path: Path) -> None:
    metric = BoxAP(truth(tmp_path), (64, 64), strides=(8, 16))
    with pytest.raises(DataError, match="has no image 6"):
        metric.measure({"y": raw(BOX)}, np.array([6]))
    with pytest.raises(DataError, match=r"the output is \[1, 7, 6\]; \[1, 80, 6\] is wanted"):
        metric.measure({"y": raw(BOX)[:, :7]}, np.array([5]))


def test_a_card_chooses_its_metric() -> None:
    assert metric_of(card()) is None
    assert metric_of(card(metric={"name": "top1"})) == Top1()
    boxes = metric_of(card(metric={"name": "box_ap", "labels": "i.json", "decoder": "yolox", "strides": [8, 16]}))
    assert isinstance(boxes, BoxAP)
    assert (boxes.size, boxes.strides, boxes.truth.name) == ((64, 64), (8, 16), "i.json")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"name": "top2"}, "unknown metric 'top2'. Did you mean 'top1'?"),
        (
            {"name": "box_ap", "labels": "i.json", "decoder": "yolo"},
            "unknown decoder 'yolo'. Did you mean 'yolox'?",
        ),
        ({"name": "box_ap", "decoder": "yolox"}, "wants 'labels'"),
    ],
)
def test_wrong_metrics(metric: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        metric_of(card(metric=metric))
    assert said in str(caught.value)


def test_box_ap_wants_to_know_the_input_s_size() -> None:
    free = {"x": {"shape": ["N", 3, "H", "W"], "dtype": "float32"}}
    boxes = {"name": "box_ap", "labels": "i.json", "decoder": "yolox"}
    with pytest.raises(RecipeError, match="height and width of input 'x'"):
        metric_of(card(inputs=free, metric=boxes))
    sized = metric_of(card(inputs=free, metric=boxes, preprocessing={"resize": [32, 64]}))
    assert isinstance(sized, BoxAP) and sized.size == (32, 64)
