"""COCO's box AP of a detector, whose raw outputs a decoder makes boxes of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from onnxq.boxes import Boxes, Truth, average_precision, load_truth, suppressed
from onnxq.errors import DataError, RecipeError, unknown
from onnxq.inputs import Array
from onnxq.metrics.decoders import DECODERS, Decoder, Scene, Yolox
from onnxq.metrics.metric import Known, labels_of
from onnxq.metrics.setting import AS_IT_IS, Setting
from onnxq.preprocess import Preprocessing
from onnxq.validation import validated

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class BoxAP:
    """COCO's box AP; labels are image ids of the COCO file ``truth``.

    ``size`` is height and width of the model input in pixels. ``iou_threshold`` None is the decoder's.
    """

    truth: Path
    size: tuple[int, int]
    preprocessing: Preprocessing = AS_IT_IS
    decoder: Decoder = Yolox()  # noqa: RUF009 - frozen
    score_threshold: float = 0.001
    iou_threshold: float | None = None

    name: ClassVar[str] = "box_ap"
    unit: ClassVar[str] = "%"
    compares: ClassVar[bool] = False

    def part(self, outputs: Mapping[str, Array], known: Known) -> dict[int, Boxes]:
        """The boxes of every image, by its id."""
        labels, truth = labels_of(self.name, known), self._truth
        for image in labels.tolist():
            if image not in truth.sizes:
                raise DataError(f"{self.truth}: has no image {image!r}, which is one of the labels.")
        scene = Scene(self.size, truth.categories, self.score_threshold)
        found = self.decoder.decode(outputs, len(labels), scene)
        threshold = self.decoder.iou_threshold if self.iou_threshold is None else self.iou_threshold
        return {
            image: self._in_image(boxes if threshold is None else suppressed(boxes, threshold), *truth.sizes[image])
            for image, boxes in zip(labels.tolist(), found, strict=True)
        }

    def total(self, parts: Sequence[dict[int, Boxes]]) -> float:
        return average_precision(self._truth, {image: boxes for part in parts for image, boxes in part.items()})

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        return self.total([self.part(outputs, Known(len(labels), labels))])

    def ids(self, files: Sequence[str]) -> Array:
        """The image id of every file of that name. Raises DataError where the truth has none."""
        images = {Path(name).name: image for name, image in self._truth.names.items()}
        for name in files:
            if name not in images:
                raise DataError(f"{self.truth}: has no image with the file_name {name!r}. Leave the image out.")
        return np.array([images[name] for name in files])

    @cached_property
    def _truth(self) -> Truth:
        return load_truth(self.truth)

    def _in_image(self, boxes: Boxes, height: int, width: int) -> Boxes:
        """Boxes in pixels of the image from boxes in pixels of the model input."""
        place = self.preprocessing.placement(height, width)
        scale = np.array([place.scale_x, place.scale_y] * 2)
        return Boxes((boxes.corners + [place.left, place.top] * 2) / scale, boxes.scores, boxes.classes)


@dataclass(frozen=True)
class Options:
    """What every decoder has; the others are fields of the decoder."""

    labels: str = ""
    decoder: str = ""
    score_threshold: Share = 0.001
    iou_threshold: Share | None = None


def from_options(options: Mapping[str, object], setting: Setting) -> BoxAP:
    where = setting.where
    own = {name: value for name, value in options.items() if name in Options.__dataclass_fields__}
    said = validated(Options, own, where)
    if said.decoder not in DECODERS:
        raise RecipeError(f"{where}: {unknown('decoder', said.decoder, DECODERS)}")
    if not said.labels:
        raise RecipeError(f"{where} wants 'labels', the COCO file of true boxes.")
    rest = {name: value for name, value in options.items() if name not in own}
    if isinstance(rest.get("priors"), str):
        rest["priors"] = setting.folder / str(rest["priors"])
    decoder = validated(DECODERS[said.decoder], rest, f"{where}, decoder {said.decoder}")
    return BoxAP(
        (setting.folder / said.labels).resolve(),
        setting.input_size(),
        setting.preprocessing,
        decoder,
        said.score_threshold,
        said.iou_threshold,
    )
