"""All but the rarest values: the range that holds ``percentile`` % of them on each side."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.errors import RecipeError
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class Percentile:
    """Cuts the ``100 - percentile`` % of values that are farthest out, at the top and (where there are negative
    ones) at the bottom."""

    percentile: float = 99.99
    histogram: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise RecipeError(f"percentile: {self.percentile} is not above 50 and at most 100")

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        values, counts = statistics.histogram()
        share = np.cumsum(counts) / counts.sum()
        top = self.percentile / 100
        high = values[np.searchsorted(share, top)] if top < 1 else statistics.high
        low = values[np.searchsorted(share, 1 - top, side="right")] if top < 1 else statistics.low
        return Range.of(min(low, 0.0) if statistics.low < 0 else statistics.low, max(high, 0.0))
