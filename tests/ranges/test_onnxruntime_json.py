"""onnxruntime reads our ranges, and we read its own, in every form that it writes."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import (
    CalibrationMethod,
    TensorData,
    TensorsData,
    load_tensors_data,
    save_tensors_data,
)
from onnxruntime.quantization.quant_utils import write_calibration_table

from onnxq.errors import DataError
from onnxq.ranges.onnxruntime_json import read, write
from onnxq.ranges.range_file import read_ranges
from onnxq.scheme import Range

ENDS = {"x": (-1.5, 2.25), "conv/out": (0.0, 6.0)}


def theirs() -> TensorsData:
    ranges = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ENDS.items()}
    return TensorsData(CalibrationMethod.MinMax, ranges)


def ends(found: dict[str, Range]) -> dict[str, tuple[float, float]]:
    return {name: (float(entry.low), float(entry.high)) for name, entry in found.items()}


def test_what_onnxruntime_writes_is_read(tmp_path: Path) -> None:
    save_tensors_data(theirs(), tmp_path / "saved.json")
    assert ends(read_ranges(tmp_path / "saved.json")) == ENDS
    for table in (theirs(), theirs().data):  # as its calibrators give them, and as its examples do
        write_calibration_table(table, str(tmp_path))
        assert ends(read_ranges(tmp_path / "calibration.json")) == ENDS
        assert ends(read_ranges(tmp_path / "calibration.cache")) == {"x": (-2.25, 2.25), "conv/out": (-6.0, 6.0)}


def test_arrays_of_one_number_and_ranges_per_channel_are_one_range(tmp_path: Path) -> None:
    low, high = np.array([[-1], [-4]], np.float32), np.array([[3], [2]], np.float32)
    table = TensorsData(CalibrationMethod.MinMax, {"w": TensorData(lowest=low, highest=high)})
    save_tensors_data(table, tmp_path / "a.json")
    assert ends(read_ranges(tmp_path / "a.json")) == {"w": (-4.0, 3.0)}


def test_the_form_of_old_releases_is_read() -> None:
    assert ends(read(json.dumps(ENDS), "a.json")) == ENDS


def test_onnxruntime_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(write({name: Range.of(*pair) for name, pair in ENDS.items()}))
    found = load_tensors_data(tmp_path / "a.json")
    assert found.calibration_method is CalibrationMethod.MinMax
    assert {name: tuple(map(float, entry.range_value)) for name, entry in found.items()} == ENDS
    assert all(entry.lowest.dtype == np.float32 for entry in found.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1, 2]", "holds no table of tensors"),
        ('{"CLS": "TensorsData"}', "holds no table of tensors"),
        ('{"x": 3}', "tensor 'x' has no lowest and highest value"),
        ('{"x": {"CLS": "TensorData", "avg": 1, "std": 2}}', "tensor 'x' has no lowest and highest value"),
        ('{"x": [1, "a"]}', "'a', which is no number"),
        ('{"x": [null, 1]}', "which is no number"),
        ('{"x": [{"data": []}, 1]}', "which is no number"),
        ('{"x": [[[1], [2, 3]], 4]}', "which is no number"),
        ('{"x": [NaN, 1]}', "range of tensor 'x' is [nan, 1]; float32 numbers are wanted"),
        ('{"x": [0, 1e39]}', "float32 numbers are wanted"),
        (f'{{"x": [0, 1{"0" * 400}]}}', "which is no number"),
        ('{"x": [2, 1]}', "the wrong way round"),
        ('{"x": [0, 1], "x": [0, 2]}', "tensor 'x' stands there twice"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text, "a.json")
    assert said in str(caught.value) and str(caught.value).startswith("a.json: ") and "\n" not in str(caught.value)
