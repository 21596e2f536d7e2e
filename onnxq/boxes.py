"""Boxes from an anchor-free detector's raw output, and their average precision (AP) against a COCO file.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv:2107.08430), section 2.1; AP by pycocotools.
"""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError, EngineMissing

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes ``[k, 4]`` as x1, y1, x2, y2 in pixels, scores ``[k]`` from 0 to 1, classes ``[k]`` from 0."""

    corners: Floats
    scores: Floats
    classes: NDArray[np.int64]

    def kept(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Boxes":
        return Boxes(self.corners[which], self.scores[which], self.classes[which])


def anchor_grid(size: tuple[int, int], strides: Sequence[int]) -> Floats:
    """Column, row and stride of every anchor ``[a, 3]``: stride after stride, in each row by row."""
    grids = []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        grids.append(np.stack([columns, rows, np.full_like(rows, stride)], -1).reshape(-1, 3))
    return np.concatenate(grids).astype(np.float64)


def decode_yolox(output: Floats, grid: Floats, score_threshold: float) -> Boxes:
    """Boxes of one image from rows ``[a, 5 + classes]`` of dx, dy, log w, log h, objectness, class scores.

    The centre is ``(anchor + d) * stride``, the side ``exp(log) * stride``, the score objectness times class.
    """
    classes = output[:, 5:].argmax(1)
    scores = output[:, 4] * output[np.arange(len(output)), 5 + classes]
    likely = scores >= score_threshold
    output, stride = output[likely], grid[likely, 2:]
    centre = (output[:, :2] + grid[likely, :2]) * stride
    half = np.exp(np.clip(output[:, 2:4], -50, 20)) * stride / 2
    return Boxes(np.concatenate([centre - half, centre + half], 1), scores[likely], classes[likely])


def suppressed(boxes: Boxes, iou_threshold: float) -> Boxes:
    """Non-maximum suppression: of boxes of one class that overlap by more, the best stays."""
    # Set far apart, boxes of different classes never overlap, and one run serves all classes.
    span = np.ptp(boxes.corners) + 1 if len(boxes.corners) else 1.0
    x1, y1, x2, y2 = (boxes.corners + boxes.classes[:, None] * span).T
    area = (x2 - x1) * (y2 - y1)
    order, keep = boxes.scores.argsort(kind="stable")[::-1], []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        order = rest[shared / (area[best] + area[rest] - shared + 1e-9) <= iou_threshold]
    return boxes.kept(np.array(keep, np.intp))


@dataclass(frozen=True)
class Truth:
    """A COCO instances file: height and width by image id, image id by file name, category ids in order, and all."""

    sizes: Mapping[int, tuple[int, int]]
    names: Mapping[str, int]
    categories: tuple[int, ...]
    dataset: Mapping[str, object]


def load_truth(path: Path) -> Truth:
    """The true boxes of an instances file. Raises DataError when it is not one."""
    try:
        dataset = json.loads(path.read_text(encoding="utf-8"))
        sizes = {image["id"]: (image["height"], image["width"]) for image in dataset["images"]}
        names = {image["file_name"]: image["id"] for image in dataset["images"] if "file_name" in image}
        categories = sorted(category["id"] for category in dataset["categories"])
        incomplete = [box for box in dataset["annotations"] if BOX_KEYS - set(box)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is not a COCO instances file: {type(error).__name__}: {error}.") from error
    if incomplete:
        raise DataError(f"{path}: an annotation lacks one of {', '.join(sorted(BOX_KEYS))}: {incomplete[0]}.")
    return Truth(sizes, names, tuple(categories), dataset)


BOX_KEYS = {"id", "image_id", "category_id", "bbox", "area", "iscrowd"}


def average_precision(truth: Truth, found: Mapping[int, Boxes]) -> float:
    """COCO's box AP over IoU 0.50 to 0.95, in percent, on the images of ``found``, which goes by image id.

    Class ``i`` is category ``i``. Raises EngineMissing without pycocotools, DataError when no box is true.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise EngineMissing("pycocotools", "coco") from error
    rows = [
        {
            "image_id": image,
            "category_id": truth.categories[kind],
            "bbox": _xywh(corners),
            "score": float(score),
        }
        for image, boxes in found.items()
        for corners, score, kind in zip(boxes.corners, boxes.scores, boxes.classes, strict=True)
    ]
    if not rows:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it reports there, where results belong
        index = COCO()
        index.dataset = truth.dataset
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes(rows), "bbox")
        evaluation.params.imgIds = sorted(found)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    if evaluation.stats[0] < 0:
        raise DataError("box_ap: the test images have no true boxes, so nothing can be measured.")
    return 100 * float(evaluation.stats[0])


def _xywh(corners: Floats) -> list[float]:
    x1, y1, x2, y2 = corners.tolist()
    return [x1, y1, x2 - x1, y2 - y1]
