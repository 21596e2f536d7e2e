"""What a calibrator is."""

from typing import ClassVar, Protocol

from onnxq.nonlinear import Function
from onnxq.scheme import ActivationSchemes, Range
from onnxq.statistics import TensorStatistics


class Calibrator(Protocol):
    """Chooses a range. ``histogram`` says whether it needs more than the exact extremes. One that also has
    ``weighs_readers = True`` is shown counts of ``onnxq.channel_weights``."""

    histogram: ClassVar[bool]

    def range(self, statistics: TensorStatistics, schemes: ActivationSchemes, through: Function | None = None) -> Range:
        """The range to spend the integers on; ``schemes`` tells which grid it will become, ``through`` the activation
        function that is all that reads the tensor."""
