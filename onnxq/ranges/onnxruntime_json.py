"""onnxruntime's ranges as JSON, in each of the forms that its releases write.

    {"x": [-1.0, 2.0]}                                                          long ago
    {"x": {"CLS": "TensorData", "lowest": N, "highest": N}}                     write_calibration_table
    {"CLS": "TensorsData", "data": {"x": ...}, "calibration_method": ...}       both it and save_tensors_data

where N is a number or {"CLS": "numpy.array", "data": ..., "dtype": "float32"}, of one number for each channel, maybe.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxq.errors import DataError
from onnxq.ranges.checked import checked, refused_twice
from onnxq.scheme import Floats, Range


def read(text: str, where: str) -> dict[str, Range]:
    """Ranges by tensor, of a tensor with a range per channel the one of all channels. Raises DataError."""
    try:
        table = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, where))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON: {error}.") from error
    if isinstance(table, dict) and table.get("CLS") == "TensorsData":
        table = table.get("data")
    if not isinstance(table, dict):
        raise DataError(f"{where}: holds no table of tensors and their ranges, as onnxruntime writes it.")
    return {name: _range(entry, name, where) for name, entry in table.items()}


def _object(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        refused_twice(name, found, where)
        found[name] = value
    return found


def _range(entry: object, name: str, where: str) -> Range:
    match entry:
        case [low, high]:
            pass
        case {"lowest": low, "highest": high}:
            pass
        case _:
            raise DataError(f"{where}: tensor {name!r} has no lowest and highest value, nor [lowest, highest].")
    return checked(float(np.min(_numbers(low, name, where))), float(np.max(_numbers(high, name, where))), name, where)


def _numbers(value: object, name: str, where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    given = value.get("data") if isinstance(value, dict) else value
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.size == 0 or given is None:
        raise DataError(f"{where}: an end of the range of tensor {name!r} is {str(given)[:40]!r}, which is no number.")
    return found


def write(ranges: Mapping[str, Range]) -> str:
    """What onnxruntime's ``load_tensors_data`` reads; float32, since it takes nothing wider."""
    data = {
        name: {"lowest": _array(found.low), "highest": _array(found.high), "CLS": "TensorData"}
        for name, found in ranges.items()
    }
    method = {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"}
    table = {"CLS": "TensorsData", "data": data, "calibration_method": method, "smooth_quant": False}
    return json.dumps(table, indent=1)


def _array(value: Floats) -> dict[str, object]:
    return {"data": float(value.astype(np.float32)), "dtype": "float32", "CLS": "numpy.array"}
