"""How the outputs of a detector become boxes: of YOLOX, of SSD, and of models that end in boxes, scores and labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from onnxq.boxes import Boxes, Floats, anchor_grid, decode_yolox
from onnxq.data.arrays import open_npy
from onnxq.errors import DataError, unknown
from onnxq.inputs import Array

SAY = "Name them: outputs=[...] in the order boxes, scores, labels."


@dataclass(frozen=True)
class Scene:
    """What boxes are decoded for: ``size`` of the model input in pixels, COCO's category ids, the least score."""

    size: tuple[int, int]
    categories: tuple[int, ...]
    score_threshold: float


class Decoder(Protocol):
    """``iou_threshold`` is that of the non-maximum suppression usual behind it; None where it is in the model."""

    @property
    def iou_threshold(self) -> float | None: ...

    def decode(self, outputs: Mapping[str, Array], count: int, scene: Scene) -> list[Boxes]:
        """The boxes of each of ``count`` images, in pixels of the model input. Raises DataError."""


@dataclass(frozen=True)
class Yolox:
    """The raw output of a YOLOX head ``[n, anchors, 5 + classes]``, as ``boxes.decode_yolox`` says."""

    strides: tuple[PositiveInt, ...] = (8, 16, 32)
    iou_threshold: ClassVar[float | None] = 0.65

    def decode(self, outputs: Mapping[str, Array], count: int, scene: Scene) -> list[Boxes]:
        predictions = next(iter(outputs.values()))
        grid = anchor_grid(scene.size, self.strides)
        wanted = (count, len(grid), 5 + len(scene.categories))
        if predictions.shape != wanted:
            raise DataError(
                f"box_ap: the output is {list(predictions.shape)}; {list(wanted)} is wanted (images, anchors of "
                f"strides {list(self.strides)} on {scene.size[0]}x{scene.size[1]} pixels, 5 + classes). Mend "
                "'strides', or the input's shape in the card."
            )
        return [decode_yolox(each.astype(np.float64), grid, scene.score_threshold) for each in predictions]


@dataclass(frozen=True)
class Ssd:
    """Boxes ``[n, anchors, 4]`` and scores of every class ``[n, anchors, classes]``, ``background`` among them (None:
    not among them).

    With ``priors``, an ``.npy`` ``[anchors, 4]`` of centre x, centre y, width, height from 0 to 1, boxes are offsets to
    them: ``centre = prior + d * variances[0] * side``, ``side * exp(d * variances[1])``; without, corners x1, y1, x2,
    y2 from 0 to 1, or pixels where not ``normalized``. With ``softmax`` scores become shares first.

    Source: Liu et al., "SSD: Single Shot MultiBox Detector" (ECCV 2016), equation 2.
    """

    priors: Path | None = None
    variances: tuple[float, float] = (0.1, 0.2)
    background: int | None = 0
    softmax: bool = False
    normalized: bool = True
    outputs: tuple[str, ...] = ()
    iou_threshold: ClassVar[float | None] = 0.45

    def decode(self, outputs: Mapping[str, Array], count: int, scene: Scene) -> list[Boxes]:
        boxes, scores = self._found(outputs, count, scene)
        if self.softmax:
            powers = np.exp(scores - scores.max(-1, keepdims=True))
            scores = powers / powers.sum(-1, keepdims=True)
        if self.background is not None:
            scores = np.delete(scores, self.background, axis=-1)
        corners = self._corners(boxes) * (_pixels(scene.size) if self.normalized or self.priors else 1)
        return [_likely(*each, scene.score_threshold) for each in zip(corners, scores, strict=True)]

    def _found(self, outputs: Mapping[str, Array], count: int, scene: Scene) -> tuple[Floats, Floats]:
        classes = len(scene.categories) + (self.background is not None)
        names = self.outputs or (("boxes", "scores") if {"boxes", "scores"} <= outputs.keys() else ())
        if names:
            found = _named(outputs, names, ("boxes", "scores"))
        else:
            every = [array for array in outputs.values() if array.ndim == 3 and array.dtype.kind == "f"]
            sizes = (4, classes) if classes != 4 else ()  # of which the length would not tell which is which
            found = [array for size in sizes for array in every if array.shape[2] == size]
        shown = [list(array.shape) for array in found]
        anchors = found[0].shape[1] if found and found[0].ndim == 3 else "anchors"
        if shown != [[count, anchors, 4], [count, anchors, classes]]:
            given = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
            raise DataError(
                f"box_ap: boxes [{count}, anchors, 4] and scores [{count}, anchors, {classes}] are wanted of decoder "
                f"ssd (the truth has {len(scene.categories)} classes, background is {self.background}); outputs are "
                f"{given}. {SAY}"
            )
        return found[0].astype(np.float64), found[1].astype(np.float64)

    def _corners(self, boxes: Floats) -> Floats:
        if self.priors is None:
            return boxes
        priors = np.concatenate(list(open_npy(self.priors).blocks(1 << 20))).astype(np.float64)
        if priors.shape != boxes.shape[1:]:
            raise DataError(f"{self.priors}: priors are {list(priors.shape)}; {list(boxes.shape[1:])} is wanted.")
        centre = priors[:, :2] + boxes[..., :2] * self.variances[0] * priors[:, 2:]
        side = priors[:, 2:] * np.exp(np.clip(boxes[..., 2:] * self.variances[1], -50, 20))
        return np.concatenate([centre - side / 2, centre + side / 2], -1)


@dataclass(frozen=True)
class Detections:
    """Boxes ``[n, k, 4]``, scores ``[n, k]`` and labels ``[n, k]`` of boxes that the model chose; of one image the axis
    ``n`` may be missing.

    ``layout`` is how four numbers are a box; ``normalized``: they are from 0 to 1, not pixels. The first category of
    the truth has the label ``first_class``; with ``category_ids`` labels are the truth's ids.
    """

    layout: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    normalized: bool = False
    first_class: int = 0
    category_ids: bool = False
    outputs: tuple[str, ...] = ()
    iou_threshold: ClassVar[float | None] = None

    def decode(self, outputs: Mapping[str, Array], count: int, scene: Scene) -> list[Boxes]:
        boxes, rated, labels = self._found(outputs, count)
        scores = rated.astype(np.float64)
        corners = _as_corners(boxes.astype(np.float64), self.layout)
        corners = corners * (_pixels(scene.size) if self.normalized else 1)
        likely = scores >= scene.score_threshold
        return [
            Boxes(box[kept], score[kept], self._classes(label[kept], scene.categories))
            for box, score, label, kept in zip(corners, scores, labels, likely, strict=True)
        ]

    def _found(self, outputs: Mapping[str, Array], count: int) -> list[Array]:
        names = self.outputs or (("boxes", "scores", "labels") if "labels" in outputs else ())
        found = _named(outputs, names, ("boxes", "scores", "labels")) if names else _by_shape(list(outputs.values()))
        if found and found[0].ndim == 2 and count == 1:
            found = [array[np.newaxis] for array in found]
        shapes = [list(array.shape) for array in found]
        k = shapes[0][1] if shapes and len(shapes[0]) == 3 else "k"
        if shapes != [[count, k, 4], [count, k], [count, k]]:
            given = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
            raise DataError(
                f"box_ap: boxes [{count}, k, 4], scores [{count}, k] and labels [{count}, k] are wanted of decoder "
                f"boxes; outputs are {given}. {SAY}"
            )
        return found

    def _classes(self, labels: Array, categories: Sequence[int]) -> NDArray[np.int64]:
        numbers = labels.astype(np.int64)
        known = np.array(categories) if self.category_ids else self.first_class + np.arange(len(categories))
        strange = ~np.isin(numbers, known)
        if strange.any():
            raise DataError(
                f"box_ap: a box has the label {numbers[strange][0]}, and the truth has {known[0]} to {known[-1]}. "
                "Say what the first category's label is, first_class=1, or that labels are ids: category_ids=true."
            )
        return np.searchsorted(known, numbers).astype(np.int64)


DECODERS: Mapping[str, type[Yolox] | type[Ssd] | type[Detections]] = {
    "yolox": Yolox,
    "ssd": Ssd,
    "boxes": Detections,
}


def _named(outputs: Mapping[str, Array], names: Sequence[str], wanted: Sequence[str]) -> list[Array]:
    if len(names) != len(wanted):
        raise DataError(f"box_ap: outputs={list(names)}: {len(wanted)} are wanted, {', '.join(wanted)}.")
    for name in names:
        if name not in outputs:
            raise DataError(f"box_ap: {unknown('output', name, outputs)}")
    return [outputs[name] for name in names]


def _by_shape(arrays: Sequence[Array]) -> list[Array]:
    """Boxes end in 4; of the other two the whole numbers, or else the second, are labels."""
    boxes = [array for array in arrays if array.ndim >= 2 and array.shape[-1] == 4]
    if not boxes:
        return []
    rest = [array for array in arrays if array is not boxes[0] and array.shape == boxes[0].shape[:-1]]
    return [boxes[0], *sorted(rest, key=lambda array: array.dtype.kind != "f")]


def _pixels(size: tuple[int, int]) -> Floats:
    return np.array([size[1], size[0]] * 2, np.float64)


def _as_corners(boxes: Floats, layout: str) -> Floats:
    if layout == "xyxy":
        return boxes
    if layout == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    start = boxes[..., :2] - (boxes[..., 2:] / 2 if layout == "cxcywh" else 0)
    return np.concatenate([start, start + boxes[..., 2:]], -1)


def _likely(corners: Floats, scores: Floats, least: float) -> Boxes:
    """A box for every class whose score is high enough."""
    anchor, kind = np.nonzero(scores >= least)
    return Boxes(corners[anchor], scores[anchor, kind], kind.astype(np.int64))
