"""The summary as a file, in every format."""

from pathlib import Path

import onnx
import pytest

from onnxq.errors import OutputError
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.report import FORMATS, write_report
from onnxq.result import Result
from onnxq.testing import normal

BACKENDS = ("onnxruntime", "tensorrt")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_report_names_model_backends_and_reasons(result: Result, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    write_report(result, {}, path)
    text = path.read_text().replace("&#160;", " ")
    for word in ("onnxruntime", "TensorRT"):
        assert word in text
    if suffix == ".txt":
        assert "calibrated on" in text and "size" in text


def test_reasons_are_told_once_for_all_backends(two_layers: onnx.ModelProto, tmp_path: Path) -> None:
    options = Options(build=False, exclude=("one",))
    found = quantize(two_layers, {"x": normal(8, 4)}, backend=BACKENDS, options=options)
    write_report(found, {"onnxruntime": tmp_path / "m.onnx"}, tmp_path / "r.txt")
    text = (tmp_path / "r.txt").read_text()
    assert text.count("excluded by 'one'") == 1 and text.count("written") == 1


def test_a_report_in_an_unknown_format_is_refused(result: Result, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a report ends in"):
        write_report(result, {}, tmp_path / "report.pdf")
