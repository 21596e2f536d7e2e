"""What onnxruntime makes of small graphs, read back from the real engine."""

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

from onnxq.backends.engine import Engine, Layer
from onnxq.backends.onnxruntime import build
from onnxq.errors import EngineError

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.integers(-127, 128, (16, 16))
IMAGE = RANDOM.uniform(-3, 3, (1, 16, 8, 8)).astype(np.float32)
ROWS = RANDOM.uniform(-3, 3, (8, 16)).astype(np.float32)


def numbers(values: object) -> str:
    return ", ".join(map(str, np.ravel(np.asarray(values))))


def run(engine: Engine, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return engine.run({"x": x})["z"].astype(np.float32, casting="no")


def model(graph: str, opset: int = 21) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {graph}')
    onnx.checker.check_model(parsed, full_check=True)
    return parsed


def conv(output_quantized: bool = True) -> str:
    tail = "[q_y] yq = QuantizeLinear(y, sy, zero) [d_y] z = DequantizeLinear(yq, sy, zero)"
    return f"""g (float[1,16,8,8] x) => (float[1,16,8,8] z)
    <int8[16,16,1,1] w = {{{numbers(WEIGHTS)}}}, float sx = {{0.025}}, float sw = {{0.01}},
     float sy = {{0.25}}, uint8 zero = {{128}}, int8 i8 = {{0}}>
    {{
        [q_x] xq = QuantizeLinear(x, sx, zero)
        [d_x] xf = DequantizeLinear(xq, sx, zero)
        [d_w] wf = DequantizeLinear(w, sw, i8)
        [conv] y = Conv(xf, wf)
        {tail if output_quantized else "[same] z = Identity(y)"}
    }}"""


def matmul(after: str) -> str:
    return f"""g (float[8,16] x) => (float[8,16] z)
    <int8[16,16] w = {{{numbers(WEIGHTS)}}}, float[16] b = {{{numbers([0.5] * 16)}}}, float sx = {{0.025}},
     float sw = {{0.01}}, float sy = {{0.25}}, uint8 zero = {{128}}, int8 i8 = {{0}}>
    {{
        [q_x] xq = QuantizeLinear(x, sx, zero)
        [d_x] xf = DequantizeLinear(xq, sx, zero)
        [d_w] wf = DequantizeLinear(w, sw, i8)
        [fc] y = MatMul(xf, wf)
        {after}
    }}"""


def test_a_quantized_conv_is_one_integer_kernel_and_right() -> None:
    engine = build(model(conv()), threads=1)
    reading = engine.read_back()
    assert reading.layers == (Layer("conv", "Conv", "int8", "QLinearConv"),)
    assert reading.conversions == 2
    assert reading.executed and reading.engine.startswith("onnxruntime ")

    quantized = np.clip(np.rint(IMAGE / 0.025), -128, 127) * 0.025
    exact = np.einsum("oc,bchw->bohw", WEIGHTS * 0.01, quantized)
    expected = np.clip(np.rint(exact / 0.25), -128, 127) * 0.25
    wrong = np.abs(run(engine, IMAGE) - expected)
    assert wrong.max() < 0.26  # a step, where rounding ties
    assert np.mean(wrong > 1e-4) < 0.01


def test_a_conv_whose_output_is_not_quantized_stays_float() -> None:
    (layer,) = build(model(conv(output_quantized=False))).read_back().layers
    assert layer.precision == "fp32"


def test_a_bias_add_behind_matmul_spoils_it_unless_quantized_between() -> None:
    fused = build(model(matmul("[bias] z = Add(y, b)"))).read_back()
    assert fused.layers == (Layer("fc", "MatMul", "fp32", "Gemm"),)

    between = """
        [q_y] yq = QuantizeLinear(y, sy, zero)
        [d_y] yf = DequantizeLinear(yq, sy, zero)
        [bias] z = Add(yf, b)"""
    apart = build(model(matmul(between))).read_back()
    assert apart.layers == (Layer("fc", "MatMul", "int8", "QLinearMatMul"),)


def test_weights_alone_in_integers_are_told_apart() -> None:
    graph = f"""g (float[8,16] x) => (float[8,16] z)
    <int8[16,16] w = {{{numbers(WEIGHTS)}}}, float[16] s = {{{numbers([0.01] * 16)}}}>
    {{
        [d_w] wf = DequantizeLinear<axis = 1>(w, s)
        [fc] z = MatMul(x, wf)
    }}"""
    engine = build(model(graph))
    assert engine.read_back().layers == (Layer("fc", "MatMul", "int8 weights", "MatMulNBits"),)
    expected = ROWS @ (WEIGHTS * np.float32(0.01))
    np.testing.assert_allclose(run(engine, ROWS), expected, atol=2e-2 * np.abs(expected).max())


def test_conv_transpose_has_no_integer_kernel() -> None:
    graph = conv().replace("y = Conv(", "y = ConvTranspose(")
    (layer,) = build(model(graph)).read_back().layers
    assert layer == Layer("conv", "ConvTranspose", "fp32", "ConvTranspose")


def test_float_convs_fused_with_a_residual_are_all_found() -> None:
    graph = f"""g (float[1,16,8,8] x) => (float[1,16,8,8] z)
    <float[16,16,1,1] v = {{{numbers(WEIGHTS / 100)}}}, float[16,16,1,1] w = {{{numbers(WEIGHTS / 100)}}}>
    {{
        [first] a = Conv(x, v)
        [relu] b = Relu(a)
        [left] c = Conv(b, w)
        [right] d = Conv(x, w)
        [add] e = Add(c, d)
        [last] z = Relu(e)
    }}"""
    reading = build(model(graph)).read_back()
    assert [layer.node for layer in reading.layers] == ["first", "left", "right"]
    assert {(layer.precision, layer.detail) for layer in reading.layers} == {("fp32", "Conv")}


def test_nodes_in_subgraphs_are_listed_as_float() -> None:
    graph = f"""g (float[8,16] x, bool flag) => (float[8,16] z)
    <float[16,16] w = {{{numbers(WEIGHTS / 100)}}}>
    {{
        [fc] y = MatMul(x, w)
        [choose] z = If(flag) <
            then_branch = yes () => (float[8,16] a) {{ [inner] a = MatMul(y, w) }},
            else_branch = no () => (float[8,16] b) {{ [pass] b = Identity(y) }}
        >
    }}"""
    outer, inner = build(model(graph)).read_back().layers
    assert outer == Layer("fc", "MatMul", "fp32", "MatMul")
    assert inner == Layer("inner", "MatMul", "fp32", "inside a subgraph of choose")


def test_a_folded_node_is_unknown() -> None:
    graph = f"""g (float[16,16] x) => (float[16,16] z) <float[16,16] w = {{{numbers(WEIGHTS / 100)}}}>
    {{
        [folded] y = MatMul(w, w)
        [add] z = Add(x, y)
    }}"""
    (layer,) = build(model(graph)).read_back().layers
    assert (layer.node, layer.precision) == ("folded", "unknown")
    assert "folded" in layer.detail


def test_refusals_are_engine_errors() -> None:
    header = '<ir_version: 10, opset_import: ["": 21, "custom": 1]>'
    unheard = onnx.parser.parse_model(f"{header} g (float[2] x) => (float[2] z) {{ z = custom.F(x) }}")
    with pytest.raises(EngineError, match=r"onnxruntime: .*custom"):
        build(unheard)
    engine = build(model(conv()))
    with pytest.raises(EngineError, match=r"onnxruntime: .*x"):
        engine.run({"x": IMAGE[:, :3]})
    with pytest.raises(EngineError, match=r"onnxruntime: .*x"):
        engine.run({})
