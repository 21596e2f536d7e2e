"""Where graphs are written."""

from pathlib import Path

import onnx
import pytest

from onnxq.errors import OutputError
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.result import Result, places
from onnxq.testing import normal, parse

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = MatMul(b, w) }",
              w=normal(4, 4))  # fmt: skip
BACKENDS = ("onnxruntime", "tensorrt")


@pytest.fixture(scope="module")
def result() -> Result:
    return quantize(MODEL, {"x": normal(8, 4)}, backend=BACKENDS, options=Options(build=False))


def test_places(tmp_path: Path) -> None:
    one, two = ("a",), ("a", "b")
    assert places("out.onnx", "m", one) == {"a": Path("out.onnx")}
    assert places("{backend}/m.onnx", "m", two) == {"a": Path("a/m.onnx"), "b": Path("b/m.onnx")}
    assert places(tmp_path, "m", one) == {"a": tmp_path / "m.a.onnx"}
    assert places("new/", "m", one) == {"a": Path("new/m.a.onnx")}
    assert places("new", "m", two) == {"a": Path("new/m.a.onnx"), "b": Path("new/m.b.onnx")}
    with pytest.raises(OutputError, match="cannot hold 2 graphs"):
        places("out.onnx", "m", two)


def test_a_result_is_saved_for_every_backend(result: Result, tmp_path: Path) -> None:
    written = result.save(tmp_path)
    assert written.keys() == set(BACKENDS)
    for name, path in written.items():
        assert onnx.load(path) == result[name].model
    with pytest.raises(KeyError, match="result"):
        _ = result.quantized
