"""The share of answers whose largest number stands where that of a reference's answer stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.errors import DataError
from onnxq.inputs import Array
from onnxq.metrics.metric import Known, output_of, reference_of
from onnxq.metrics.setting import Setting
from onnxq.metrics.topk import Hits, TopK
from onnxq.validation import validated


@dataclass(frozen=True)
class Agreement:
    """Of the first output, or of the one named ``output``; ``axis`` has the classes: the last one, or 1 for
    segmentation."""

    output: str = ""
    axis: int = -1

    name: ClassVar[str] = "agreement"
    unit: ClassVar[str] = "%"
    compares: ClassVar[bool] = True

    def part(self, outputs: Mapping[str, Array], known: Known) -> Hits:
        reference = reference_of(self.name, known)
        made, real = (output_of(side, self.output, known.count) for side in (outputs, reference))
        if made.shape != real.shape or not -made.ndim <= self.axis < made.ndim or made.shape[self.axis] < 2:
            raise DataError(
                f"agreement: the output is {list(made.shape)}, and of the reference {list(real.shape)}; the same shape "
                f"is wanted, and classes along axis {self.axis}. Name another with output= or axis=, or measure sqnr."
            )
        same = made.argmax(self.axis) == real.argmax(self.axis)
        return int(np.sum(same)), same.size

    def total(self, parts: Sequence[Hits]) -> float:
        return TopK(1).total(parts)


def from_options(options: Mapping[str, object], setting: Setting) -> Agreement:
    return validated(Agreement, options, setting.where)
