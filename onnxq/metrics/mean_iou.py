"""Intersection over union of a class, ``TP / (TP + FP + FN)`` over all pixels, averaged over the classes that occur.

Source: Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective" (IJCV 2015), section 2.2.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.inputs import Array, described
from onnxq.metrics.metric import Known, labels_of, output_of
from onnxq.metrics.setting import Setting
from onnxq.validation import validated


@dataclass(frozen=True)
class MeanIoU:
    """Semantic segmentation: labels are a class for every pixel, ``[n, height, width]``.

    The first output, or the one named ``output``, has a score for every class along ``axis``, or the rank of the labels
    and is a map of classes already. Pixels whose label is ``ignore`` do not count.
    """

    ignore: int = 255
    axis: int = 1
    output: str = ""

    name: ClassVar[str] = "mean_iou"
    unit: ClassVar[str] = "%"
    compares: ClassVar[bool] = False

    def part(self, outputs: Mapping[str, Array], known: Known) -> NDArray[np.int64]:
        """How many pixels of each class (rows) are taken for each class (columns), ``[c, c]``."""
        labels = labels_of(self.name, known)
        if labels.ndim < 2 or labels.dtype.kind not in "iu":
            shown = described(labels.dtype, labels.shape)
            raise DataError(f"mean_iou wants a class for every pixel as labels, [n, height, width]; these are {shown}.")
        found, classes = self._classes(output_of(outputs, self.output, len(labels)), labels)
        counts = labels != self.ignore
        truth, made = labels[counts].astype(np.int64), found[counts].astype(np.int64)
        if truth.size and min(truth.min(), made.min()) < 0:
            raise DataError(f"mean_iou: class {min(truth.min(), made.min())}; classes count from 0. Or say ignore=.")
        if classes is not None and truth.size and truth.max() >= classes:
            raise DataError(f"mean_iou: a label is {truth.max()}, and the output has {classes} classes. Say ignore=.")
        size = classes or (1 + int(max(truth.max(), made.max())) if truth.size else 0)
        return np.bincount(truth * size + made, minlength=size * size).reshape(size, size)

    def total(self, parts: Sequence[NDArray[np.int64]]) -> float:
        size = max(len(part) for part in parts)
        confusion = np.zeros((size, size), np.int64)
        for part in parts:
            confusion[: len(part), : len(part)] += part
        right = np.diag(confusion)
        union = confusion.sum(0) + confusion.sum(1) - right
        if not union.any():
            raise DataError(f"mean_iou: every label is {self.ignore}, which is ignored, so nothing can be measured.")
        return 100 * float(np.mean(right[union > 0] / union[union > 0]))

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        return self.total([self.part(outputs, Known(len(labels), labels))])

    def _classes(self, output: Array, labels: Array) -> tuple[Array, int | None]:
        """The class of every pixel, and how many there are, if the output tells."""
        scores = output.ndim == labels.ndim + 1 and -output.ndim <= self.axis < output.ndim
        found = output.argmax(self.axis) if scores else output
        if found.shape != labels.shape:
            raise DataError(
                f"mean_iou: the output is {list(output.shape)}, with classes along axis {self.axis}, and labels are "
                f"{list(labels.shape)}. Name another with output= or axis=, or bring the labels to the output's size."
            )
        return found, output.shape[self.axis] if scores else None


def from_options(options: Mapping[str, object], setting: Setting) -> MeanIoU:
    return validated(MeanIoU, options, setting.where)
