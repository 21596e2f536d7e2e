"""The mean over all samples of the least and of the greatest value of each: what a typical sample reaches.

NNCF's default for activations (its statistic "mean of min and max per sample"). An outlier in one of many samples
hardly counts; what reaches farther than the mean is clipped.
"""

from dataclasses import dataclass
from typing import ClassVar

from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class MeanMinMax:
    """``[mean(min), mean(max)]``, summed exactly."""

    histogram: ClassVar[bool] = False

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        return Range.of(*statistics.each().mean)
