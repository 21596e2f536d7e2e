"""Box AP: boxes go from the model input to the picture, and images by their ids or their files."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.boxes import anchor_grid
from onnxq.errors import DataError
from onnxq.metrics import BoxAP, Metric
from onnxq.metrics.decoders import Yolox
from onnxq.metrics.metric import Known
from onnxq.preprocess import Preprocessing

BOX = np.array([40.0, 20, 80, 60])  # x1, y1, x2, y2 in a picture 128 wide and 96 high


def truth(folder: Path) -> Path:
    box = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [40, 20, 40, 40], "area": 1600, "iscrowd": 0}
    images = [{"id": 5, "height": 96, "width": 128, "file_name": "five.jpg"}]
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
    metric: Metric = BoxAP(truth(tmp_path), (64, 64), preprocessing, decoder=Yolox((8, 16)))
    assert metric.measure({"y": raw(corners)}, np.array([5])) == pytest.approx(100)
    assert metric.measure({"y": raw(corners + 3)}, np.array([5])) < 90


def test_box_ap_refuses_what_does_not_fit(tmp_path: Path) -> None:
    metric = BoxAP(truth(tmp_path), (64, 64), decoder=Yolox((8, 16)))
    with pytest.raises(DataError, match="has no image 6"):
        metric.measure({"y": raw(BOX)}, np.array([6]))
    with pytest.raises(DataError, match=r"the output is \[1, 7, 6\]; \[1, 80, 6\] is wanted"):
        metric.measure({"y": raw(BOX)[:, :7]}, np.array([5]))


def test_images_go_by_their_files(tmp_path: Path) -> None:
    metric = BoxAP(truth(tmp_path), (64, 64))
    assert metric.ids(["five.jpg"]).tolist() == [5]
    with pytest.raises(DataError, match=r"instances.json: has no image with the file_name 'six.jpg'"):
        metric.ids(["five.jpg", "six.jpg"])


def test_batches_are_put_together(tmp_path: Path) -> None:
    path = truth(tmp_path)
    dataset = json.loads(path.read_text())
    dataset["images"].append({"id": 6, "height": 96, "width": 128})
    dataset["annotations"].append({**dataset["annotations"][0], "id": 2, "image_id": 6})
    path.write_text(json.dumps(dataset))
    metric = BoxAP(path, (64, 64), Preprocessing(resize=64), decoder=Yolox((8, 16)))
    good = raw(BOX * [0.5, 2 / 3, 0.5, 2 / 3])
    parts = [metric.part({"y": good}, Known(1, np.array([5]))), metric.part({"y": 0 * good}, Known(1, np.array([6])))]
    assert metric.total(parts) == pytest.approx(50, abs=1)  # of 101 recalls
    assert metric.total(parts) == metric.measure({"y": np.concatenate([good, 0 * good])}, np.array([5, 6]))


def test_suppression_is_the_decoder_s_unless_it_is_said(tmp_path: Path) -> None:
    path = truth(tmp_path)
    twice = raw(BOX * [0.5, 2 / 3, 0.5, 2 / 3])
    twice[0, 11] = twice[0, 10]
    twice[0, 11, 0] -= 1  # the same box, from the next anchor
    for threshold, boxes in ((None, 1), (1.0, 2)):
        metric = BoxAP(path, (64, 64), Preprocessing(resize=64), Yolox((8, 16)), iou_threshold=threshold)
        assert len(metric.part({"y": twice}, Known(1, np.array([5])))[5].scores) == boxes
