"""The share of samples whose largest number in an output stands where the label says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from onnxq.inputs import Array
from onnxq.metrics.metric import Known
from onnxq.metrics.setting import Setting
from onnxq.metrics.topk import Hits, TopK
from onnxq.validation import validated


@dataclass(frozen=True)
class Top1:
    """Top-1 of the first output, or of the one named ``output``."""

    output: str = ""

    name: ClassVar[str] = "top1"
    unit: ClassVar[str] = "%"
    compares: ClassVar[bool] = False

    def part(self, outputs: Mapping[str, Array], known: Known) -> Hits:
        return TopK(1, self.output).part(outputs, known)

    def total(self, parts: Sequence[Hits]) -> float:
        return TopK(1).total(parts)

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        return self.total([self.part(outputs, Known(len(labels), labels))])


def from_options(options: Mapping[str, object], setting: Setting) -> Top1:
    return validated(Top1, options, setting.where)
