"""Where graphs are written."""

import os
from pathlib import Path

import onnx
import pytest

from onnxq.errors import OutputError
from onnxq.places import places
from onnxq.result import Result

BACKENDS = ("onnxruntime", "tensorrt")


def test_places(tmp_path: Path) -> None:
    one, two = ("a",), ("a", "b")
    assert places("out.onnx", "m", one) == {"a": Path("out.onnx")}
    assert places("{backend}/m.onnx", "m", two) == {"a": Path("a/m.onnx"), "b": Path("b/m.onnx")}
    assert places(tmp_path, "m", one) == {"a": tmp_path / "m.a.onnx"}
    assert places("new/", "m", one) == {"a": Path("new/m.a.onnx")}
    assert places("new", "m", two) == {"a": Path("new/m.a.onnx"), "b": Path("new/m.b.onnx")}
    assert places(f"new{os.sep}", "m", ("a",)) == {"a": Path("new/m.a.onnx")}
    with pytest.raises(OutputError, match="cannot hold 2 graphs"):
        places("out.onnx", "m", two)


def test_a_result_is_saved_for_every_backend(result: Result, tmp_path: Path) -> None:
    written = result.save(tmp_path)
    assert written.keys() == set(BACKENDS)
    for name, path in written.items():
        assert onnx.load(path) == result[name].model
    with pytest.raises(KeyError, match="result"):
        _ = result.quantized
