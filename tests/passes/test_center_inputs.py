"""Lopsided inputs are centered where grids have no zero points, and the function stays."""

import numpy as np
import onnx
import pytest

from onnxq.options import Options
from onnxq.passes.center_inputs import CenterInputs
from onnxq.pipeline import quantize
from onnxq.proof import Proof, rewrite
from onnxq.testing import Array, changes_nothing, normal, ops, parse, run, workspace

W = normal(6, 3, 3, 3, scale=0.2)
PADDED = "g (float[N,3,8,8] x) => (float[N,6,4,4] y) { y = Conv<pads=[1,0,1,2], strides=[2,2]>(x, w, b) }"
FOCUS = """g (float[N,1,8,8] x) => (float[N,6,4,8] y) {
    one = Slice(x, zero, four, two) other = Slice(x, four, eight, two) both = Concat<axis=1>(one, other, one)
    y = Conv<pads=[1,1,1,1]>(both, w, b) }"""
ROWS = "g (float[N,5] x) => (float[N,4] y) { y = Gemm(x, u) }"
PRODUCT = "g (float[N,5] x) => (float[N,4] y) { m = MatMul(x, u) y = Add(m, c) }"
WEIGHTS = {
    "w": W,
    "b": normal(6, seed=1),
    "u": normal(5, 4, seed=2),
    "c": normal(4, seed=3),
    "zero": np.array([0]),
    "two": np.array([2]),
    "four": np.array([4]),
    "eight": np.array([8]),
}


def net(text: str) -> onnx.ModelProto:
    return parse(text, 17, **{name: array for name, array in WEIGHTS.items() if f"{name}" in text})


def fed(model: onnx.ModelProto, low: float = 0, high: float = 255, seed: int = 5) -> Array:
    shape = [dim.dim_value or 16 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (-120, 20)])
@pytest.mark.parametrize("text", [PADDED, FOCUS, ROWS, PRODUCT])
def test_the_function_stays_and_what_layers_read_is_centered(text: str, low: float, high: float) -> None:
    model = net(text)
    x, fresh = fed(model, low, high), fed(model, low, high, seed=9)
    space = workspace(model, {"x": x}, "tensorrt")
    before = run(space, x=fresh)["y"]
    assert rewrite(space, CenterInputs(), Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, x=fresh)["y"], before, rtol=1e-4, atol=1e-4 * float(np.abs(before).max()))
    (sub,) = (node for node in space.graph.nodes if node.op == "Sub")
    middle = float(sub.inputs[1].values)
    assert abs(middle - (low + high) / 2) < 0.02 * (high - low)
    assert ops(space).count("Pad") == int("pads" in text)
    assert changes_nothing(space, CenterInputs())


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-2, 1.6), (0, 0)])
def test_what_is_even_or_nothing_is_left(low: float, high: float) -> None:
    model = net(PADDED)
    space = workspace(model, {"x": fed(model, low, high)}, "tensorrt")
    assert not CenterInputs()(space)
    assert ops(space) == ["Conv"]


def test_padding_that_depends_on_the_image_is_declined() -> None:
    model = net(PADDED.replace("pads=[1,0,1,2]", 'auto_pad="SAME_UPPER"'))
    space = workspace(model, {"x": fed(model)}, "tensorrt")
    assert not CenterInputs()(space)
    (entry,) = space.ledger.of("declined")
    assert entry.reason == "how much it pads depends on the size of the image" and ops(space) == ["Conv"]


def test_what_was_computed_is_left() -> None:
    model = net(PADDED.replace("{ y = Conv", "{ r = Relu(x) y = Conv").replace("(x, w, b)", "(r, w, b)"))
    space = workspace(model, {"x": fed(model)}, "tensorrt")
    assert not CenterInputs()(space)


def test_tensorrt_s_graph_gains_a_bit_and_others_are_as_they_were() -> None:
    model = net(PADDED)
    x, fresh = fed(model, seed=1), fed(model, seed=2)
    made = quantize(model, {"x": x}, backend=("tensorrt", "openvino"), options=Options(build=False))
    assert "Sub" in ops(made["tensorrt"].model) and "Sub" not in ops(made["openvino"].model)
    plain = quantize(model, {"x": x - 127.5}, backend="tensorrt", options=Options(build=False)).quantized
    exact = run(model, x=fresh)["y"]
    error = np.square(run(made["tensorrt"].model, x=fresh)["y"] - exact).mean()
    even = np.square(run(plain, x=fresh - 127.5)["y"] - run(model, x=fresh - 127.5)["y"]).mean()
    assert error < 1.3 * even  # as good as pixels that were centered before they came
