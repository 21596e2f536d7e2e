"""Ways to choose the range of a tensor from its statistics, one per file."""

from onnxq.calibrators.calibrator import Calibrator
from onnxq.calibrators.minmax import MinMax
from onnxq.calibrators.mse import Mse
from onnxq.calibrators.percentile import Percentile

CALIBRATORS: dict[str, type[Calibrator]] = {"minmax": MinMax, "mse": Mse, "percentile": Percentile}

__all__ = ["CALIBRATORS", "Calibrator", "MinMax", "Mse", "Percentile"]
