"""Operators without an integer kernel, seen on each engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest

from onnxq.backends import backend_of
from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.lint import lint
from onnxq.testing import Array, normal, parse

See = Callable[..., Any]
W = I8.along(0)


def up(**grids: Grid) -> onnx.ModelProto:
    text = "g (float[N,16,8,8] x) => (float[N,16,16,16] y) { [one] y = ConvTranspose<strides = [2,2]>(x, w) }"
    return handmade(parse(text, 21, w=normal(16, 16, 2, 2)), grids)


@pytest.mark.parametrize(
    ("backend", "grids"),
    [
        ("onnxruntime", {"x": U8, "y": U8, "w": I8.along(1)}),
        ("openvino", {"x": U8, "w": I8.along(1)}),
        ("tensorrt", {"x": I8, "w": I8.along(1)}),
    ],
)
def test_conv_transpose_in_float(see: See, backend: str, grids: dict[str, Grid]) -> None:
    seen = see(up(**grids), backend)
    assert seen.rules == {"conv_transpose": "float"}
    assert seen.precisions == {"one": "fp32"}
    assert see(up(), backend).rules == {}


def test_openvino_runs_a_symmetric_conv_transpose_in_integers(see: See) -> None:
    seen = see(up(x=I8, w=I8.along(1)), "openvino")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8"}


@pytest.mark.parametrize(
    ("operator", "weights"),
    [
        ("Softmax<axis = -1>(a)", {}),
        ("LayerNormalization(a, g, h)", {"g": normal(64), "h": normal(64)}),
        ("Clip(a, lo, hi)", {"lo": np.array(-1, np.float32), "hi": np.array(1, np.float32)}),
        ("Gelu(a)", {}),
        ("Sigmoid(a)", {}),
    ],
)
def test_tensorrt_computes_in_float_what_stands_behind_q_dq(see: See, operator: str, weights: dict[str, Any]) -> None:
    text = f"""g (float[32,64] x) => (float[32,64] y) {{ [one] a = MatMul(x, w) [op] s = {operator}
        [two] y = MatMul(s, v) }}"""
    model = parse(text, 21, w=normal(64, 64), v=normal(64, 64, seed=1), **weights)
    dense = {"x": I8, "s": I8, "w": I8.along(1), "v": I8.along(1)}
    seen = see(handmade(model, {**dense, "a": I8}), "tensorrt")
    assert seen.rules == {"float_operator": "float"}
    kernels = [layer for layer in engine_layers(handmade(model, {**dense, "a": I8})) if "op" in layer.nodes]
    assert kernels and all("int8" not in layer.inputs for layer in kernels)
    assert see(handmade(model, dense), "tensorrt").rules == {}


@pytest.mark.parametrize("operator", ["AveragePool<kernel_shape = [2,2]>(r)", "GlobalAveragePool(r)"])
def test_tensorrt_averages_in_float(see: See, operator: str) -> None:
    text = f"""g (float[N,16,8,8] x) => (float[N,16,A,B] y) {{
        [one] a = Conv(x, w) [act] r = Relu(a) [op] s = {operator} [two] y = Conv(s, v) }}"""
    model = parse(text, 21, w=normal(16, 16, 1, 1), v=normal(16, 16, 1, 1, seed=1))
    seen = see(handmade(model, x=I8, r=I8, w=W, v=W), "tensorrt")
    assert seen.rules == {"float_operator": "float", "half_quantized": "float"}
    assert seen.precisions["one"] == "int8" and seen.precisions["two"] != "int8"
    right = see(handmade(model, x=I8, s=I8, w=W, v=W), "tensorrt")
    assert right.rules == {}
    assert right.precisions == {"one": "int8", "two": "int8"}


def test_tensorrt_computes_an_lstm_in_float(see: See) -> None:
    text = "g (float[16,1,32] x) => (float[16,1,1,32] y) { [one] y = LSTM<hidden_size = 32>(x, w, r) }"
    model = parse(text, 21, w=normal(1, 128, 32), r=normal(1, 128, 32))
    assert see(handmade(model, x=I8), "tensorrt").rules == {"float_operator": "float"}
    kernels = [layer for layer in engine_layers(handmade(model, x=I8)) if layer.is_matrix]
    assert all("int8" not in layer.inputs for layer in kernels)
    assert see(model, "tensorrt").rules == {}


def engine_layers(model: onnx.ModelProto) -> Any:
    from onnxq.backends.tensorrt import build

    engine: Any = build(model)
    return engine.layers


def qlinear(dtype: type = np.uint8, per_channel: bool = False, channels: int = 16) -> onnx.ModelProto:
    """A QLinearConv of 16 output channels between a QuantizeLinear and a DequantizeLinear."""
    zero: Array = np.array(128 if dtype is np.uint8 else 0, dtype)
    scale = np.array([0.001, 0.02] * 8 if per_channel else 0.01, np.float32)
    text = f"""g (float[N,{channels},28,28] x) => (float[N,16,28,28] y) {{
        [q] a = QuantizeLinear(x, sx, zx) [one] c = QLinearConv<pads = [1,1,1,1]>(a, sx, zx, w, sw, zw, sy, zx)
        [dq] y = DequantizeLinear(c, sy, zx) }}"""
    return parse(
        text,
        17,
        w=np.random.default_rng(0).integers(-127, 128, (16, channels, 3, 3)).astype(np.int8),
        sx=np.array(0.03, np.float32),
        sy=np.array(0.2, np.float32),
        sw=scale,
        zx=zero,
        zw=np.zeros(scale.shape, np.int8),
    )


def test_tensorrt_refuses_integer_operators(see: See) -> None:
    seen = see(qlinear(np.int8), "tensorrt")
    assert seen.rules == {"integer_operator": "rejected"}
    assert seen.refused


def test_openvino_misreads_scales_per_channel_of_a_qlinear_conv(see: See) -> None:
    seen = see(qlinear(per_channel=True), "openvino")
    assert seen.rules == {"integer_operator": "wrong", "outputs": "wrong"}
    assert seen.alike < 15
    refused = see(qlinear(per_channel=True, channels=8), "openvino")
    assert refused.rules == {"integer_operator": "rejected"} and refused.refused
    right = see(qlinear(), "openvino")
    assert right.rules == {}
    assert right.precisions == {"one": "int8"} and right.found.int8_macs == 1
    assert right.alike > 30


def test_onnxruntime_is_slow_on_a_qlinear_conv_of_int8(see: See) -> None:
    slow = see(qlinear(np.int8), "onnxruntime", 4, seconds=0.2)
    fast = see(qlinear(), "onnxruntime", 4, seconds=0.2)
    assert slow.rules == {"slow_signed_kernels": "slow"} and fast.rules == {}
    assert slow.precisions == fast.precisions == {"one": "int8"}
    assert slow.speedup < 0.5 * fast.speedup


def test_onnxruntime_is_slow_on_dynamically_quantized_convolutions(see: See) -> None:
    text = """g (float[N,16,28,28] x) => (float[N,16,28,28] y) {
        [q] a, s, z = DynamicQuantizeLinear(x) [one] i = ConvInteger<pads = [1,1,1,1]>(a, w, z)
        [f] f = Cast<to = 1>(i) [k] k = Mul(s, sw) [m] y = Mul(f, k) }"""
    weight = np.random.default_rng(0).integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
    seen = see(parse(text, 17, w=weight, sw=np.array(0.01, np.float32)), "onnxruntime", 4, seconds=0.2)
    assert seen.rules["integer_operator"] == "slow"
    assert seen.precisions == {"one": "int8"}
    assert seen.speedup < 0.7


@pytest.mark.parametrize("operator", ["QAttention", "QGemm", "QLinearGlobalAveragePool"])
def test_openvino_knows_not_all_of_onnxruntime_s_operators(operator: str) -> None:
    openvino = pytest.importorskip("openvino")
    node = onnx.helper.make_node(operator, ["x"] * 8, ["y"], "one", domain="com.microsoft")
    value = onnx.helper.make_tensor_value_info
    ends = [value("x", onnx.TensorProto.UINT8, [1, 4, 4, 4])], [value("y", onnx.TensorProto.UINT8, None)]
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *ends), opset_imports=opsets)
    assert {entry.severity for entry in lint(model, backend_of("openvino").lints)} == {"rejected"}
    with pytest.raises(RuntimeError, match="No conversion rule"):
        openvino.Core().read_model(model.SerializeToString())


def test_openvino_computes_dynamic_quantization_in_float(see: See) -> None:
    text = """g (float[N,64] x) => (float[N,32] y) {
        [q] a, s, z = DynamicQuantizeLinear(x) [one] i = MatMulInteger(a, w, z) [f] f = Cast<to = 1>(i)
        [m] y = Mul(f, s) }"""
    model = parse(text, 17, w=np.random.default_rng(0).integers(-127, 128, (64, 32)).astype(np.int8))
    seen = see(model, "openvino", 16)
    assert seen.rules == {"integer_operator": "float"}
    assert seen.precisions["one"] != "int8"


@pytest.mark.parametrize(
    ("grids", "precision"),
    [
        ({"q": U8, "s": U8}, "fp32"),
        ({"q": U8}, "unknown"),  # fused into one subgraph, which does not tell
        ({"q": U8, "s": I8}, "unknown"),
        ({"s": U8}, "int8"),
    ],
    ids=["breaks the fusion", "fused", "symmetric before Softmax", "symmetric operands"],
)
def test_openvino_and_asymmetric_attention(see: See, grids: dict[str, Grid], precision: str) -> None:
    text = """g (float[N,4,64,32] q, float[N,4,32,64] k, float[N,4,64,32] v) => (float[N,4,64,32] y) {
        [qk] s = MatMul(q, k) [sm] p = Softmax<axis = -1>(s) [pv] y = MatMul(p, v) }"""
    operands = {"q": I8, "k": I8, "p": POSITIVE, "v": I8}
    seen = see(handmade(parse(text, 21), {**operands, **grids}), "openvino")
    assert seen.rules == ({"asymmetric_product": "float"} if precision == "fp32" else {})
    assert seen.precisions["qk"] == precision


@pytest.mark.parametrize(("grid", "precision"), [(U8, "fp32"), (I8, "int8")], ids=["uint8", "int8"])
def test_openvino_and_a_product_outside_attention(see: See, grid: Grid, precision: str) -> None:
    text = "g (float[N,64,32] q, float[N,32,64] k) => (float[N,64,64] y) { [qk] y = MatMul(q, k) }"
    seen = see(handmade(parse(text, 21), q=grid, k=I8), "openvino")
    assert seen.rules == ({"asymmetric_product": "float"} if precision == "fp32" else {})
    assert seen.precisions["qk"] == precision
