"""The share of samples whose label is among the places of the ``k`` largest numbers of an output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from onnxq.errors import DataError
from onnxq.inputs import Array, described
from onnxq.metrics.metric import Known, labels_of, output_of
from onnxq.metrics.setting import Setting
from onnxq.validation import validated

Hits = tuple[int, int]  # right ones, and all


@dataclass(frozen=True)
class TopK:
    """Top-k of the first output, or of the one named ``output``. Of equal numbers the first counts as the largest."""

    k: Annotated[int, Field(ge=1)] = 5
    output: str = ""

    unit: ClassVar[str] = "%"
    compares: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"top{self.k}"

    def part(self, outputs: Mapping[str, Array], known: Known) -> Hits:
        labels = labels_of(self.name, known)
        scores = output_of(outputs, self.output, len(labels))
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            shown = described(labels.dtype, labels.shape)
            raise DataError(f"{self.name} wants one whole number a sample as labels; these are {shown}.")
        return self._hits(scores.reshape(len(scores), -1), labels.astype(np.int64)), len(labels)

    def total(self, parts: Sequence[Hits]) -> float:
        return 100 * sum(right for right, _ in parts) / sum(count for _, count in parts)

    def measure(self, outputs: Mapping[str, Array], labels: Array) -> float:
        return self.total([self.part(outputs, Known(len(labels), labels))])

    def _hits(self, scores: Array, labels: Array) -> int:
        """How many labels have fewer than ``k`` numbers before them; NaN comes before all, as for ``argmax``."""
        if self.k == 1:
            return int(np.sum(scores.argmax(1) == labels))
        largest = np.argsort(_falling(scores), axis=1, kind="stable")[:, : self.k]
        return int(np.sum(largest == labels[:, None]))


def _falling(scores: Array) -> Array:
    """Numbers that rise as the scores fall."""
    key = -scores.astype(np.float64)
    key[np.isnan(key)] = -np.inf
    return key


def from_options(options: Mapping[str, object], setting: Setting) -> TopK:
    return validated(TopK, options, setting.where)
