"""Decoding undoes encoding, suppression keeps the best, and AP is 100 for perfect boxes only."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxq.boxes import Boxes, anchor_grid, average_precision, decode_yolox, load_truth, suppressed
from onnxq.errors import DataError, EngineMissing


def instances(folder: Path) -> Path:
    boxes = [(1, 7, [4, 4, 20, 20]), (1, 3, [30, 10, 16, 24]), (2, 3, [8, 8, 40, 40])]
    annotations = [
        {
            "id": i + 1,
            "image_id": image,
            "category_id": kind,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for i, (image, kind, box) in enumerate(boxes)
    ]
    images = [{"id": i, "height": 64, "width": 64} for i in (1, 2, 3)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "categories": [{"id": 7}, {"id": 3}], "annotations": annotations}))
    return path


def found(shift: float) -> dict[int, Boxes]:
    first = Boxes(np.array([[4.0, 4, 24, 24], [30, 10, 46, 34]]) + shift, np.array([0.9, 0.8]), np.array([1, 0]))
    second = Boxes(np.array([[8.0, 8, 48, 48]]) + shift, np.array([0.7]), np.array([0]))
    return {1: first, 2: second}


def test_perfect_boxes_have_an_ap_of_100_and_shifted_ones_less(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = load_truth(instances(tmp_path))
    assert truth.categories == (3, 7)
    assert average_precision(truth, found(0)) == pytest.approx(100)
    assert 10 < average_precision(truth, found(2)) < 90
    assert capsys.readouterr().out == ""


def test_no_boxes_have_an_ap_of_0(tmp_path: Path) -> None:
    nothing = Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert average_precision(load_truth(instances(tmp_path)), {1: nothing}) == 0


def test_images_without_true_boxes_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no true boxes"):
        average_precision(load_truth(instances(tmp_path)), {3: found(0)[1]})


@pytest.mark.parametrize(
    "text", ["no json", "[]", "{}", '{"images": [{"id": 1}], "categories": [], "annotations": []}']
)
def test_a_file_that_is_no_coco_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json: is not a COCO instances file"):
        load_truth(tmp_path / "a.json")


def test_an_annotation_without_box_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [], "categories": [], "annotations": [{"id": 1}]}')
    with pytest.raises(DataError, match=r"a\.json: an annotation lacks"):
        load_truth(tmp_path / "a.json")


def test_a_missing_pycocotools_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(EngineMissing, match=r"pip install 'onnxq\[coco\]'"):
        average_precision(load_truth(instances(tmp_path)), found(0))


@given(
    st.floats(5, 40),
    st.floats(5, 25),
    st.floats(1, 20),
    st.floats(1, 20),
    st.integers(0, 2),
    st.integers(0, 39),
)
def test_decoding_undoes_encoding(x: float, y: float, w: float, h: float, kind: int, anchor: int) -> None:
    grid = anchor_grid((32, 64), (8, 16))
    assert grid.shape == (32 + 8, 3)
    column, row, stride = grid[anchor]
    output = np.zeros((40, 8))
    output[anchor] = [
        x / stride - column,
        y / stride - row,
        np.log(w / stride),
        np.log(h / stride),
        0.9,
        0,
        0,
        0,
    ]
    output[anchor, 5 + kind] = 0.5
    boxes = decode_yolox(output, grid, 0.1)
    np.testing.assert_allclose(boxes.corners, [[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], atol=1e-9)
    assert (boxes.classes[0], boxes.scores[0]) == (kind, pytest.approx(0.45))


def test_the_grid_goes_row_by_row() -> None:
    np.testing.assert_array_equal(anchor_grid((16, 16), (8,)), [[0, 0, 8], [1, 0, 8], [0, 1, 8], [1, 1, 8]])


def test_suppression_keeps_the_best_of_each_class() -> None:
    corners = np.array([[0.0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10], [-30, -30, -20, -20]])
    boxes = suppressed(Boxes(corners, np.array([0.5, 0.9, 0.4, 0.1]), np.array([0, 0, 1, 0])), 0.5)
    np.testing.assert_array_equal(boxes.scores, [0.9, 0.4, 0.1])
    assert len(suppressed(Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)), 0.5).scores) == 0
