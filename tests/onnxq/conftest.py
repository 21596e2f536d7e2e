"""What several tests of results share."""

import onnx
import pytest

from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.result import Result
from onnxq.testing import normal, parse


@pytest.fixture(scope="session")
def two_layers() -> onnx.ModelProto:
    """A model of two linear layers and a ReLU."""
    text = "g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = MatMul(b, w) }"
    return parse(text, w=normal(4, 4))


@pytest.fixture(scope="session")
def result(two_layers: onnx.ModelProto) -> Result:
    """It, quantized for two backends; nothing is built."""
    samples, options = {"x": normal(64, 4)}, Options(build=False)
    return quantize(two_layers, samples, backend=("onnxruntime", "tensorrt"), options=options)
