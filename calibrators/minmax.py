"""All that was seen: ``[min, max]``. Nothing is clipped; one outlier costs every other value precision."""

from dataclasses import dataclass
from typing import ClassVar

from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class MinMax:
    """The exact extremes."""

    histogram: ClassVar[bool] = False

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        return Range.of(statistics.low, statistics.high)
