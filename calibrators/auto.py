"""The range with the least error of what the layers that read a tensor make of it.

Every value counts with the weight of its channel (``onnxq.channel_weights``), so the error of a channel that layers
hardly read costs little, however loud it is; else it is the search of ``mse``. A tensor that no layer reads counts as
it is.
"""

from dataclasses import dataclass
from typing import ClassVar

from onnxq.calibrators.mse import Mse
from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


@dataclass(frozen=True)
class Auto:
    """Reads counts that are weighed by the readers of each channel."""

    histogram: ClassVar[bool] = True
    weighs_readers: ClassVar[bool] = True

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        return Mse().range(statistics, schemes, through)
