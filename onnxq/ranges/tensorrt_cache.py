"""TensorRT's calibration cache: text, a header and a line for each tensor.

    TRT-8601-EntropyCalibration2
    images: 3c010a14

The number is the scale of the tensor's INT8 grid, amax / 127, as the bits of a float32 in hexadecimal, highest byte
first, leading zeros left out. Every grid is symmetric, so a range is [-amax, amax].
"""

import re
from collections.abc import Mapping

import numpy as np

from onnxq.errors import DataError
from onnxq.ranges.checked import checked, refused_twice
from onnxq.scheme import Range

HEADER = "TRT-8601-EntropyCalibration2"  # of the last TensorRT whose calibrators were not deprecated
HEADERS = re.compile(r"TRT-\d+-(EntropyCalibration|EntropyCalibration2|LegacyCalibration|MinMaxCalibration)")
HIGHEST = 127


def is_cache(text: str) -> bool:
    """Whether it begins as such a cache does, of a version and an algorithm that may be unknown."""
    return text.startswith("TRT-")


def read(text: str, where: str) -> dict[str, Range]:
    """Ranges by tensor. Raises DataError for a header or a line that is none of TensorRT's."""
    header, *lines = text.splitlines()
    if HEADERS.fullmatch(header.strip()) is None:
        raise DataError(
            f"{where}: begins with {header[:60]!r}; TensorRT's caches begin like {HEADER!r}. "
            "Calibrate with TensorRT again."
        )
    found: dict[str, Range] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        name, colon, written = line.rpartition(":")  # names have colons in them
        if not colon or re.fullmatch(r"[0-9a-fA-F]{1,8}", written.strip()) is None:
            raise DataError(f"{where}, line {number}: {line[:60]!r} is not `tensor: scale`, with 1 to 8 hex digits.")
        name = name.strip()
        refused_twice(name, found, where)
        amax = HIGHEST * float(np.uint32(int(written, 16)).view(np.float32))
        found[name] = checked(-amax, amax, name, where)
    return found


def write(ranges: Mapping[str, Range]) -> str:
    """The cache of such ranges, of which the longer side counts. Raises DataError for a name that fits on no line."""
    for name in ranges:
        if "\n" in name or "\r" in name:
            raise DataError(f"tensor {name!r} has a line break in its name, which a calibration cache cannot hold.")
    lines = (f"{name}: {_bits(found)}" for name, found in ranges.items())
    return "\n".join((HEADER, *lines, ""))


def _bits(found: Range) -> str:
    amax = max(abs(float(found.low)), abs(float(found.high)))
    return f"{int(np.float32(amax / HIGHEST).view(np.uint32)):x}"
