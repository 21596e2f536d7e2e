"""What OpenVINO makes of small graphs, read back from the real engine."""

import sys

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray

from onnxq.backends.engine import Engine, Layer
from onnxq.backends.openvino import Executed, build, read_layers
from onnxq.errors import EngineError, EngineMissing

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.integers(-127, 128, (16, 16))
IMAGE = RANDOM.uniform(-3, 3, (1, 16, 8, 8)).astype(np.float32)


def numbers(values: object) -> str:
    return ", ".join(map(str, np.ravel(np.asarray(values))))


def run(engine: Engine, x: NDArray[np.float32]) -> NDArray[np.float32]:
    return engine.run({"x": x})["z"].astype(np.float32, casting="no")


def model(graph: str, opset: int = 21) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {graph}')
    onnx.checker.check_model(parsed, full_check=True)
    return parsed


def conv(
    operator: str = "Conv", activations: str = "int8", zero: int = 0, weights: str = "int8", w_zero: int = 0
) -> onnx.ModelProto:
    return model(f"""g (float[N,16,8,8] x) => (float[N,16,8,8] z)
    <{weights}[16,16,1,1] w = {{{numbers(np.abs(WEIGHTS))}}}, float sx = {{0.025}}, float sw = {{0.01}},
     {activations} zx = {{{zero}}}, {weights} zw = {{{w_zero}}}>
    {{
        [q_x] xq = QuantizeLinear(x, sx, zx)
        [d_x] xf = DequantizeLinear(xq, sx, zx)
        [d_w] wf = DequantizeLinear(w, sw, zw)
        [conv] y = {operator}(xf, wf)
        [relu] z = Relu(y)
    }}""")


def precision(graph: onnx.ModelProto) -> str:
    (layer,) = build(graph, shapes={"x": [1, 16, 8, 8]}).read_back().layers
    return layer.precision


@pytest.fixture(autouse=True)
def _openvino() -> None:
    pytest.importorskip("openvino")


def test_a_quantized_conv_is_one_integer_kernel_and_right() -> None:
    engine = build(conv(), shapes={"x": [1, 16, 8, 8]}, threads=1)
    reading = engine.read_back()
    (layer,) = reading.layers
    assert (layer.node, layer.op_type, layer.precision) == ("conv", "Conv", "int8")
    assert layer.detail.lower().endswith("_i8")
    assert reading.conversions >= 1  # the quantization of the input
    assert reading.executed and reading.engine.endswith("CPU, precision hint f32")

    quantized = np.clip(np.rint(IMAGE / 0.025), -128, 127) * 0.025
    expected = np.maximum(np.einsum("oc,bchw->bohw", np.abs(WEIGHTS) * 0.01, quantized), 0)
    np.testing.assert_allclose(run(engine, IMAGE), expected, atol=1e-3)


def test_conv_transpose_runs_as_integers() -> None:
    assert precision(conv("ConvTranspose")) == "int8"


@pytest.mark.parametrize(
    "graph",
    [
        conv(weights="uint8", w_zero=128),
        conv(weights="int8", w_zero=3),
        conv(activations="int16"),
    ],
    ids=["u8 weights", "asymmetric weights", "i16 activations"],
)
def test_what_openvino_cannot_do_in_integers_stays_float(graph: onnx.ModelProto) -> None:
    assert precision(graph) == "fp32"


def test_a_matmul_behind_a_graph_output_is_found() -> None:
    """Its kernel is named after the output: neither the MatMul nor the Add is mentioned."""
    graph = model(f"""g (float[8,16] x) => (float[8,16] z)
    <float[16,16] w = {{{numbers(WEIGHTS / 100)}}}, float[16] b = {{{numbers([0.5] * 16)}}}>
    {{
        [fc] y = MatMul(x, w)
        [bias] z = Add(y, b)
    }}""")
    engine = build(graph)
    (layer,) = engine.read_back().layers
    assert (layer.node, layer.precision) == ("fc", "fp32")
    rows = RANDOM.uniform(-1, 1, (8, 16)).astype(np.float32)
    expected = rows @ (WEIGHTS / 100).astype(np.float32) + np.float32(0.5)
    np.testing.assert_allclose(run(engine, rows), expected, atol=1e-4)


def test_weights_alone_in_integers_are_told_apart() -> None:
    graph = model(f"""g (float[8,16] x) => (float[8,16] z)
    <int8[16,16] w = {{{numbers(WEIGHTS)}}}, float[16] s = {{{numbers([0.01] * 16)}}}>
    {{
        [d_w] wf = DequantizeLinear<axis = 1>(w, s)
        [fc] z = MatMul(x, wf)
    }}""")
    (layer,) = build(graph).read_back().layers
    assert layer.precision == "int8 weights"


def test_attention_vanishes_into_a_subgraph() -> None:
    graph = model("""g (float[1,2,16,8] q, float[1,2,8,16] k, float[1,2,16,8] v) => (float[1,2,16,8] z)
    {
        [scores] s = MatMul(q, k)
        [softmax] p = Softmax<axis = -1>(s)
        [mix] m = MatMul(p, v)
        [relu] z = Relu(m)
    }""")
    layers = build(graph).read_back().layers
    assert layers == (
        Layer("scores", "MatMul", "unknown", "in subgraph"),
        Layer("mix", "MatMul", "unknown", "in subgraph"),
    )


def test_a_matrix_kernel_wins_over_what_was_done_to_its_weights() -> None:
    graph = model("g (float[8,16] x, float[16,16] w) => (float[8,16] z) { [fc] y = MatMul(x, w) z = Relu(y) }")
    kernel = Executed("FullyConnected", "brgemm_avx512_amx_bf16", "bf16", ("fc/WithoutBiases",))
    transpose = Executed("Transpose", "unknown_i8", "", ("fc/transpose_b",))
    for operations in ([kernel, transpose], [transpose, kernel]):
        assert read_layers(graph, operations) == (Layer("fc", "MatMul", "bf16", "brgemm_avx512_amx_bf16"),)
    (alone,) = read_layers(graph, [transpose])
    assert (alone.precision, alone.detail) == ("unknown", "fused; only its Transpose is named")
    (nothing,) = read_layers(graph, [])
    assert (nothing.precision, nothing.detail) == ("unknown", "folded, or fused under another name")


def test_nodes_in_subgraphs_are_listed_as_float() -> None:
    graph = model("""g (float[8,16] x, float[16,16] w, bool flag) => (float[8,16] z) {
        [choose] z = If(flag) <
            then_branch = yes () => (float[8,16] a) { [inner] a = MatMul(x, w) },
            else_branch = no () => (float[8,16] b) { [pass] b = Identity(x) }
        >
    }""")
    (layer,) = build(graph).read_back().layers
    assert layer == Layer("inner", "MatMul", "fp32", "inside a subgraph of choose")


def test_the_default_hint_is_openvinos_own_choice() -> None:
    engine = build(conv(), shapes={"x": [1, 16, 8, 8]}, precision_hint="default")
    assert engine.read_back().layers[0].precision == "int8"


def test_the_primitive_decides_not_the_claimed_precision() -> None:
    graph = conv()
    claims = Executed("Convolution", "brgconv_avx512_amx_f32", "i8", ("conv",))
    (layer,) = read_layers(graph, [claims])
    assert (layer.precision, layer.detail) == ("fp32", "brgconv_avx512_amx_f32")


def test_refusals_name_the_cause_and_no_source_files() -> None:
    header = '<ir_version: 10, opset_import: ["": 21, "custom": 1]>'
    unheard = onnx.parser.parse_model(f"{header} g (float[2] x) => (float[2] z) {{ z = custom.F(x) }}")
    with pytest.raises(EngineError, match=r"OpenVINO: .*custom\.F") as caught:
        build(unheard)
    assert "src/" not in str(caught.value)
    with pytest.raises(EngineError, match=r"OpenVINO: .*'image' is not found"):
        build(conv(), shapes={"image": [1, 16, 8, 8]})


def test_feeds_that_do_not_fit_are_refused() -> None:
    engine = build(conv(), shapes={"x": [1, 16, 8, 8]})
    with pytest.raises(EngineError, match=r"OpenVINO: .*1.3.8.8"):
        engine.run({"x": IMAGE[:, :3]})
    with pytest.raises(EngineError, match="input 'x' is missing"):
        engine.run({"y": IMAGE})


def test_a_missing_openvino_comes_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineMissing, match=r"pip install 'onnxq\[openvino\]'"):
        build(conv())
