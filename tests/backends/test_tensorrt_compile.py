"""Which shapes an engine of TensorRT takes. No GPU is needed, and nothing runs."""

from typing import Any

import numpy as np
import pytest

from onnxq.backends import tensorrt_compile
from onnxq.backends.tensorrt_compile import Compiled, compile_for_batches
from onnxq.errors import EngineError
from onnxq.testing import named, parse

rtx = pytest.importorskip("tensorrt_rtx")


def test_an_engine_takes_batches_from_1_to_64() -> None:
    model = named(parse("g (float[N,16] x, float[N,4] u) => (float[N,20] y) { a = Concat<axis=1>(x, u) y = Relu(a) }"))
    compiled = compile_for_batches(rtx, "an engine", model, {}, rtx.ComputeCapability.SM89)
    assert compiled.ranges == {"x": ((1, 16), (1, 16), (64, 16)), "u": ((1, 4), (1, 4), (64, 4))}
    compiled.check({"x": np.zeros((64, 16)), "u": np.zeros((64, 4))})
    wide = compile_for_batches(rtx, "an engine", model, {"x": (100, 16), "u": (100, 4)}, rtx.ComputeCapability.SM89)
    assert wide.ranges["x"] == ((1, 16), (100, 16), (100, 16))
    with pytest.raises(
        EngineError, match=r"an engine: input 'x' is \[65, 16\], and the engine takes \[1, 16\] to \[64"
    ):
        compiled.check({"x": np.zeros((65, 16)), "u": np.zeros((65, 4))})
    with pytest.raises(EngineError, match=r"'x' is \[16\]"):
        compiled.check({"x": np.zeros(16)})
    with pytest.raises(EngineError, match="'x' is missing"):
        compiled.check({})


@pytest.mark.parametrize(
    ("inputs", "shapes", "largest"),
    [
        ("float[8,16] x", {}, 8),  # not dynamic
        ("float[N,C,H] x", {"x": (2, 3, 4)}, 64),  # sizes are given, and the batch is free
        ("float[N,C,H] x, float[N,16] u", {"x": (2, 3, 4), "u": (2, 16)}, 2),  # C might depend on N
    ],
)
def test_the_batch_is_free_where_nothing_else_could_have_to_follow_it(
    inputs: str, shapes: dict[str, tuple[int, ...]], largest: int
) -> None:
    more = "v = Relu(u)" if "u" in shapes else ""
    outputs = "float y, float v" if more else "float y"
    model = named(parse(f"g ({inputs}) => ({outputs}) {{ y = Relu(x) {more} }}"))
    compiled = compile_for_batches(rtx, "test", model, shapes, rtx.ComputeCapability.SM89)
    assert compiled.ranges["x"][2][0] == largest


def test_a_network_that_takes_one_batch_is_built_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As TensorRT does where a Reshape holds a fixed batch; TensorRT-RTX finds out when it runs."""
    real = tensorrt_compile._compile

    def compile_one(*arguments: Any) -> Compiled:
        if arguments[-1] > 1:
            raise tensorrt_compile._OnlyOneBatch
        return real(*arguments)

    monkeypatch.setattr(tensorrt_compile, "_compile", compile_one)
    model = named(parse("g (float[N,16] x) => (float[N,16] y) { y = Relu(x) }"))
    compiled = compile_for_batches(rtx, "an engine", model, {"x": (4, 16)}, rtx.ComputeCapability.SM89)
    assert compiled.ranges == {"x": ((4, 16),) * 3}
    with pytest.raises(EngineError, match=r"an engine, for the batch it was built with alone: .* takes \[4, 16\]\."):
        compiled.check({"x": np.zeros((1, 16))})
