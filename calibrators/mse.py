"""The range with the least mean squared error: what is clipped against what is rounded.

White paper (arXiv 2106.08295), sect. 3.2; the formula is in ``rounding_error.py``, the search in ``range_search.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

from onnxq.calibrators.range_search import MEASURED, least_error
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class Mse:
    """``measured`` of the ranges that are tried, the best by the formula, are measured."""

    measured: int = MEASURED
    histogram: ClassVar[bool] = True

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        return least_error(statistics, schemes, through, measured=self.measured)
