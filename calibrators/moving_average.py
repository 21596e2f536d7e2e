"""The extremes, averaged sample by sample, so that the latest samples count most: ``r <- r + constant (sample - r)``.

PyTorch's MovingAverageMinMaxObserver and onnxruntime's ``CalibMovingAverage``, which do so batch by batch; here a batch
is one sample, so that the result does not depend on how samples are batched. It begins with the first sample, or, of
more than 1,024, with the mean of those before the latest 1,024.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.errors import RecipeError
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class MovingAverage:
    """``constant``: what the latest sample counts, above 0 and at most 1."""

    constant: float = 0.01
    histogram: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.constant <= 1:
            raise RecipeError(f"constant: {self.constant} is not above 0 and at most 1")

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        samples = statistics.each()
        latest = samples.latest.astype(np.float64)
        begin = np.array(samples.earlier.mean) if samples.count > len(latest) else latest[0]
        kept = (1 - self.constant) ** np.arange(len(latest), -1, -1.0)  # of the beginning, and of each sample
        low, high = kept[0] * begin + self.constant * kept[1:] @ latest
        return Range.of(float(low), float(high))
