"""Decoders against a plain loop over anchors and classes."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.boxes import Boxes
from onnxq.errors import DataError
from onnxq.metrics.decoders import Detections, Scene, Ssd, Yolox

Rows = list[tuple[list[float], float, int]]
SCENE = Scene((32, 64), (3, 7, 9), 0.1)  # 32 high, 64 wide
RNG = np.random.default_rng(0)


def rows(boxes: Boxes) -> Rows:
    """Corners, score and class of every box, in an order of their own."""
    found = zip(boxes.corners.tolist(), boxes.scores.tolist(), boxes.classes.tolist(), strict=True)
    return sorted(([round(float(c), 6) for c in corners], round(score, 6), kind) for corners, score, kind in found)


def rounded(found: Rows) -> Rows:
    return sorted(([round(c, 6) for c in corners], round(score, 6), kind) for corners, score, kind in found)


def test_yolox() -> None:
    output = RNG.random((2, 10, 8)).astype(np.float32)  # strides 16 and 32: 2 x 4 and 1 x 2 anchors
    anchors = [(x, y, 16) for y in range(2) for x in range(4)] + [(x, 0, 32) for x in range(2)]
    decoded = Yolox((16, 32)).decode({"y": output}, 2, SCENE)
    for image, boxes in zip(output.astype(float).tolist(), decoded, strict=True):
        wanted: Rows = []
        for (x, y, stride), (dx, dy, width, height, objectness, *classes) in zip(anchors, image, strict=True):
            best = max(classes)
            if objectness * best >= 0.1:
                cx, cy, w, h = (x + dx) * stride, (y + dy) * stride, math.exp(width) * stride, math.exp(height) * stride
                corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                wanted.append((corners, objectness * best, classes.index(best)))
        assert 0 < len(wanted) < 10
        assert rows(boxes) == rounded(wanted)


@pytest.mark.parametrize("background", [0, 3, None])
@pytest.mark.parametrize("softmax", [False, True])
def test_ssd_with_priors(tmp_path: Path, background: int | None, softmax: bool) -> None:
    classes = 3 + (background is not None)
    priors, offsets = RNG.random((5, 4)), RNG.standard_normal((2, 5, 4)).astype(np.float32)
    scores = RNG.random((2, 5, classes)).astype(np.float32)
    np.save(tmp_path / "priors.npy", priors)
    ssd = Ssd(tmp_path / "priors.npy", background=background, softmax=softmax, outputs=("loc", "scores"))
    decoded = ssd.decode({"scores": scores, "loc": offsets}, 2, SCENE)
    for image in range(2):
        wanted: Rows = []
        for a, (px, py, pw, ph) in enumerate(priors.tolist()):
            dx, dy, dw, dh = offsets[image, a].astype(float).tolist()
            cx, cy, w, h = px + 0.1 * dx * pw, py + 0.1 * dy * ph, pw * math.exp(0.2 * dw), ph * math.exp(0.2 * dh)
            corners = [(cx - w / 2) * 64, (cy - h / 2) * 32, (cx + w / 2) * 64, (cy + h / 2) * 32]
            rated = scores[image, a].astype(float).tolist()
            if softmax:
                rated = [math.exp(s) / sum(map(math.exp, rated)) for s in rated]
            kept = [s for place, s in enumerate(rated) if place != background]
            wanted += [(corners, s, kind) for kind, s in enumerate(kept) if s >= 0.1]
        assert len(wanted) > 0
        assert rows(decoded[image]) == rounded(wanted)


def test_ssd_with_corners() -> None:
    corners = RNG.random((1, 6, 4))
    scores = np.eye(6, 4)[None] * 0.5
    (boxes,) = Ssd().decode({"boxes": corners, "scores": scores}, 1, Scene((32, 64), (1, 2, 3), 0.1))
    assert rows(boxes) == rounded([((corners[0, i] * [64, 32, 64, 32]).tolist(), 0.5, i - 1) for i in (1, 2, 3)])
    (same,) = Ssd(normalized=False, background=None).decode({"s": scores[..., :3], "b": corners}, 1, SCENE)
    assert rows(same) == rounded([(corners[0, i].tolist(), 0.5, i) for i in range(3)])


def test_ssd_of_three_classes_says_which_output_is_which() -> None:
    boxes, scores = RNG.random((1, 6, 4)), np.zeros((1, 6, 4))  # with background, as long as a box
    (found,) = Ssd(outputs=("b", "s")).decode({"s": scores, "b": boxes}, 1, SCENE)
    assert len(found.scores) == 0
    with pytest.raises(DataError, match="unknown output 'bb'"):
        Ssd(outputs=("bb", "s")).decode({"s": scores, "b": boxes}, 1, SCENE)
    with pytest.raises(DataError, match=r"boxes \[1, anchors, 4\] and scores \[1, anchors, 4\] are wanted"):
        Ssd().decode({"b": boxes, "s": scores}, 1, SCENE)
    with pytest.raises(DataError, match=r"background is None.*outputs are b \[1, 6, 4\], s \[1, 6, 4\]"):
        Ssd(background=None).decode({"b": boxes, "s": scores}, 1, SCENE)


def test_ssd_refuses_priors_of_another_model(tmp_path: Path) -> None:
    np.save(tmp_path / "priors.npy", np.zeros((7, 4)))
    with pytest.raises(DataError, match=r"priors are \[7, 4\]; \[6, 4\] is wanted"):
        Ssd(tmp_path / "priors.npy").decode({"boxes": np.zeros((1, 6, 4)), "scores": np.zeros((1, 6, 4))}, 1, SCENE)


LAYOUTS: dict[str, list[float]] = {
    "xyxy": [10, 4, 30, 24],
    "yxyx": [4, 10, 24, 30],
    "xywh": [10, 4, 20, 20],
    "cxcywh": [20, 14, 20, 20],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detections_in_every_layout(layout: str) -> None:
    boxes = np.array([[LAYOUTS[layout], [0, 0, 0, 0]]], np.float32)  # the second only fills up
    outputs: dict[str, NDArray[np.generic]] = {
        "labels": np.array([[2, -1]]), "boxes": boxes, "scores": np.array([[0.8, 0]])
    }  # fmt: skip
    (found,) = Detections(layout).decode(outputs, 1, SCENE)  # type: ignore[arg-type]
    assert rows(found) == rounded([([10, 4, 30, 24], 0.8, 2)])


def test_detections_are_told_by_their_shapes_and_normalized() -> None:
    boxes = np.array([[0.25, 0.5, 0.5, 1]])  # of one image, without an axis for it
    outputs: dict[str, NDArray[np.generic]] = {"kind": np.array([1]), "dets": boxes, "conf": np.array([0.5])}
    (found,) = Detections(normalized=True, first_class=1).decode(outputs, 1, SCENE)
    assert rows(found) == rounded([([16, 16, 32, 32], 0.5, 0)])
    (found,) = Detections(outputs=("dets", "conf", "kind")).decode(outputs, 1, SCENE)
    assert found.classes.tolist() == [1]


def test_labels_of_detections_are_classes_or_ids() -> None:
    def outputs(label: int) -> dict[str, NDArray[np.generic]]:
        return {"boxes": np.ones((1, 1, 4)), "scores": np.ones((1, 1)), "labels": np.array([[label]], np.float32)}

    assert Detections(category_ids=True).decode(outputs(7), 1, SCENE)[0].classes.tolist() == [1]
    with pytest.raises(DataError, match="a box has the label 7, and the truth has 0 to 2"):
        Detections().decode(outputs(7), 1, SCENE)
    with pytest.raises(DataError, match="a box has the label 8"):
        Detections(category_ids=True).decode(outputs(8), 1, SCENE)


def test_detections_that_are_none() -> None:
    with pytest.raises(DataError, match=r"boxes \[2, k, 4\].*outputs are y \[2, 5\]"):
        Detections().decode({"y": np.zeros((2, 5))}, 2, SCENE)
    with pytest.raises(DataError, match="3 are wanted, boxes, scores, labels"):
        Detections(outputs=("y",)).decode({"y": np.zeros((2, 5))}, 2, SCENE)
