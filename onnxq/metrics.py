"""How good a model's answers are, as one number in percent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from onnxq.boxes import Boxes, anchor_grid, average_precision, decode_yolox, load_truth, suppressed
from onnxq.errors import DataError, RecipeError, unknown
from onnxq.inputs import Array, described
from onnxq.models.card import Card, MetricCard
from onnxq.preprocess import Preprocessing, pair


class Metric(Protocol):
    """A number that is better when larger."""

    @property
    def name(self) -> str: ...

    @property
    def unit(self) -> str: ...

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        """The metric over outputs ``[n, ...]`` by name, in graph order, and labels ``[n]``."""


@dataclass(frozen=True)
class Top1:
    """The share of samples whose largest number in the first output stands where the label says."""

    name: str = "top1"
    unit: str = "%"

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        scores = _first(outputs, labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            shown = described(labels.dtype, labels.shape)
            raise DataError(f"top1 wants one whole number a sample as labels; these are {shown}.")
        return 100 * float(np.mean(scores.reshape(len(scores), -1).argmax(1) == labels))


AS_IT_IS = Preprocessing()


@dataclass(frozen=True)
class BoxAP:
    """COCO's box AP of a YOLOX head's raw output; labels are image ids of the COCO file ``truth``.

    ``size`` is height and width of the model input in pixels.
    """

    truth: Path
    size: tuple[int, int]
    preprocessing: Preprocessing = AS_IT_IS
    strides: tuple[int, ...] = (8, 16, 32)
    score_threshold: float = 0.001
    iou_threshold: float = 0.65
    name: str = "box_ap"
    unit: str = "%"

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        predictions = _first(outputs, labels)
        truth = load_truth(self.truth)
        grid = anchor_grid(self.size, self.strides)
        wanted = (len(labels), len(grid), 5 + len(truth.categories))
        if predictions.shape != wanted:
            raise DataError(
                f"box_ap: the output is {list(predictions.shape)}; {list(wanted)} is wanted (images, anchors "
                f"of strides {list(self.strides)} on {self.size[0]}x{self.size[1]} pixels, 5 + classes). "
                "Mend 'strides' or the input's shape in the card."
            )
        found = {}
        for image, prediction in zip(labels.tolist(), predictions, strict=True):
            if image not in truth.sizes:
                raise DataError(f"{self.truth}: has no image {image!r}, which is one of the labels.")
            boxes = decode_yolox(prediction.astype(np.float64), grid, self.score_threshold)
            found[image] = self._in_image(suppressed(boxes, self.iou_threshold), *truth.sizes[image])
        return average_precision(truth, found)

    def _in_image(self, boxes: Boxes, height: int, width: int) -> Boxes:
        """Boxes in pixels of the image from boxes in pixels of the model input."""
        place = self.preprocessing.placement(height, width)
        scale = np.array([place.scale_x, place.scale_y] * 2)
        return Boxes((boxes.corners + [place.left, place.top] * 2) / scale, boxes.scores, boxes.classes)


def metric_of(card: Card) -> Metric | None:
    """The metric a card asks for. Raises RecipeError for one that is unknown or lacks an option."""
    if card.metric is None:
        return None
    if card.metric.name not in METRICS:
        raise RecipeError(f"{card.folder}: {unknown('metric', card.metric.name, METRICS)}")
    return METRICS[card.metric.name](card, card.metric)


def _top1(card: Card, metric: MetricCard) -> Metric:
    return Top1()


def _box_ap(card: Card, metric: MetricCard) -> Metric:
    if metric.decoder != "yolox":
        raise RecipeError(f"{card.folder}: {unknown('decoder', str(metric.decoder), ['yolox'])}")
    if card.labels_path is None:
        raise RecipeError(f"{card.folder}: metric box_ap wants 'labels', the COCO file of true boxes.")
    return BoxAP(
        card.labels_path,
        _input_size(card),
        card.preprocessing or AS_IT_IS,
        metric.strides,
        metric.score_threshold,
        metric.iou_threshold,
    )


METRICS: Mapping[str, Callable[[Card, MetricCard], Metric]] = {"top1": _top1, "box_ap": _box_ap}


def _input_size(card: Card) -> tuple[int, int]:
    """Height and width of the model input: what preprocessing makes, or what the card says of the shape."""
    preprocessing = card.preprocessing or AS_IT_IS
    made = pair(preprocessing.crop) or (None if preprocessing.fit == "shorter" else pair(preprocessing.resize))
    name = preprocessing.input or next(iter(card.inputs), "")
    shape = card.inputs[name].shape if name in card.inputs else ()
    sides = shape[2:4] if preprocessing.layout == "NCHW" else shape[1:3]
    if made is None and len(sides) == 2 and isinstance(sides[0], int) and isinstance(sides[1], int):
        made = (sides[0], sides[1])
    if made is None:
        raise RecipeError(f"{card.folder}: metric box_ap wants the height and width of input {name!r} as numbers.")
    return made


def _first(outputs: Mapping[str, Array], labels: Array) -> Array:
    name, output = next(iter(outputs.items()))
    if output.ndim == 0 or len(output) != len(labels) or len(labels) == 0:
        shown = described(output.dtype, output.shape)
        raise DataError(f"output {name!r} is {shown} and there are {len(labels)} labels; one for each is wanted.")
    return output
