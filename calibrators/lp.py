"""The range with the least mean of ``|error|^p``: the greater ``p``, the less is clipped.

``p = 2`` is the mean squared error, of which the greatest errors make up most; 2.4 is what LAPQ (arXiv 1911.07190) and
the MCT and PPQ calibrators of that name take. The search is that of ``mse``.
"""

from dataclasses import dataclass
from typing import ClassVar

from onnxq.calibrators.range_search import least_error
from onnxq.errors import RecipeError
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class Lp:
    """``p``: 0.5 to 16."""

    p: float = 2.4
    histogram: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.5 <= self.p <= 16:
            raise RecipeError(f"p: {self.p} is not 0.5 to 16")

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        return least_error(statistics, schemes, through, self.p)
