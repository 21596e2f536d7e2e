"""What any file of ranges has to hold: each tensor once, and ends that are numbers, in order."""

import math
from collections.abc import Container

import numpy as np

from onnxq.errors import DataError
from onnxq.scheme import Range

LARGEST = float(np.finfo(np.float32).max)


def checked(low: float, high: float, tensor: str, where: str) -> Range:
    """The range. Raises DataError for one of no float32 values: NaN, infinite, or with its ends the wrong way round."""
    if not (math.isfinite(low) and math.isfinite(high) and max(abs(low), abs(high)) <= LARGEST):
        raise DataError(f"{where}: the range of tensor {tensor!r} is [{low:g}, {high:g}]; float32 numbers are wanted.")
    if low > high:
        raise DataError(
            f"{where}: the range of tensor {tensor!r} is [{low:g}, {high:g}]: its scale is negative, or its ends are "
            "the wrong way round. Calibrate again."
        )
    return Range.of(low, high)


def refused_twice(tensor: str, known: Container[str], where: str) -> None:
    """Raises DataError for a tensor that is known already."""
    if tensor in known:
        raise DataError(f"{where}: tensor {tensor!r} stands there twice. Leave one of its ranges.")
