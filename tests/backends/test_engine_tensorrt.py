"""What TensorRT-RTX compiles small graphs to, and how TensorRT's own account of an engine is read.

No GPU is needed, and none of the engines runs.
"""

import json
import sys
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq import Options, quantize
from onnxq.backends import tensorrt
from onnxq.backends.engine import Layer, Reading
from onnxq.backends.tensorrt_layers import count_conversions, parse_json, parse_lines, read_layers
from onnxq.errors import EngineError, EngineMissing, RecipeError
from onnxq.testing import normal, parse, scaled

WEIGHTS = np.random.default_rng(0).integers(-127, 128, (16, 16))


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX, also where a GPU and the full TensorRT are at hand."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(tensorrt, "_gpu_present", lambda: False)


def numbers(values: object) -> str:
    return ", ".join(map(str, np.ravel(np.asarray(values))))


def model(graph: str, opset: int = 21) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {graph}')
    onnx.checker.check_model(parsed, full_check=True)
    return parsed


Q_X = "[q_x] xq = QuantizeLinear(x, sx, i8) [d_x] xf = DequantizeLinear(xq, sx, i8)"
D_W = "[d_w] wf = DequantizeLinear(w, sw, i8)"


def conv(nodes: str, batch: str = "1") -> onnx.ModelProto:
    return model(f"""g (float[{batch},16,8,8] x) => (float[{batch},16,M,M] z)
    <int8[16,16,1,1] w = {{{numbers(WEIGHTS)}}}, float[16,16,1,1] v = {{{numbers(WEIGHTS / 100)}}},
     int8[16,1,1,1] dw = {{{numbers(WEIGHTS[0])}}}, int32[16] bias = {{{numbers(WEIGHTS[0])}}},
     float sx = {{0.025}}, float sw = {{0.01}}, int8 i8 = {{0}}>
    {{ {nodes} }}""")


def matmul(nodes: str, batch: str = "8") -> onnx.ModelProto:
    return model(f"""g (float[{batch},16] x, float[16,16] k) => (float[{batch},16] z)
    <int8[16,16] w = {{{numbers(WEIGHTS)}}}, float sx = {{0.025}}, float sw = {{0.01}}, int8 i8 = {{0}}>
    {{ {nodes} }}""")


def read(graph: onnx.ModelProto) -> Reading:
    return tensorrt.build(graph).read_back()


@pytest.mark.parametrize(
    ("nodes", "precision"),
    [
        (f"{Q_X} {D_W} [node] z = Conv(xf, wf)", "int8"),
        (f"{Q_X} [d_w] wf = DequantizeLinear(dw, sw, i8) [node] z = Conv<group = 16>(xf, wf)", "int8"),
        (f"{Q_X} [node] z = Conv(xf, v)", "fp32"),
        (f"{D_W} [node] z = Conv(x, wf)", "fp32"),
        (f"{Q_X} {D_W} [node] z = ConvTranspose(xf, wf)", "fp32"),
    ],
    ids=["both sides", "depthwise", "only the input", "only the weights", "ConvTranspose"],
)
@pytest.mark.usefixtures("rtx")
def test_conv_is_int8_when_both_sides_are(nodes: str, precision: str) -> None:
    (layer,) = read(conv(nodes)).layers
    assert (layer.node, layer.precision) == ("node", precision)


@pytest.mark.parametrize(
    ("nodes", "precision"),
    [
        (f"{Q_X} {D_W} [node] y = MatMul(xf, wf) [relu] z = Relu(y)", "int8"),
        (f"{Q_X} {D_W} [node] z = Gemm(xf, wf)", "int8"),
        (
            f"{Q_X} [q_k] kq = QuantizeLinear(k, sx, i8) [d_k] kf = DequantizeLinear(kq, sx, i8) "
            "[node] z = MatMul(xf, kf)",
            "int8",
        ),
        (f"{Q_X} [node] z = MatMul(xf, k)", "fp32"),
        (f"{D_W} [node] z = MatMul(x, wf)", "int8 weights"),
        ("[node] z = MatMul(x, k)", "fp32"),
    ],
    ids=["MatMul", "Gemm", "two activations", "one of two activations", "only the weights", "float"],
)
@pytest.mark.usefixtures("rtx")
def test_matmul_is_int8_when_both_sides_are(nodes: str, precision: str) -> None:
    (layer,) = read(matmul(nodes)).layers
    assert (layer.node, layer.precision) == ("node", precision)


@pytest.mark.usefixtures("rtx")
def test_the_reading_says_that_nothing_ran() -> None:
    engine = tensorrt.build(conv(f"{Q_X} {D_W} [node] z = Conv(xf, wf)"))
    reading = engine.read_back()
    assert reading.engine.startswith("TensorRT-RTX ")
    assert reading.engine.endswith("compiled for compute capability 8.9, not run")
    assert not reading.executed
    assert reading.conversions >= 1
    with pytest.raises(EngineError, match="not run: there are no outputs"):
        engine.run({"x": np.zeros((1, 16, 8, 8), np.float32)})


@pytest.mark.usefixtures("rtx")
def test_a_dynamic_batch_is_one_unless_told() -> None:
    graph = matmul(f"{Q_X} {D_W} [node] y = MatMul(xf, wf) [add] z = Add(y, x)", batch="N")
    for engine in (tensorrt.build(graph), tensorrt.build(graph, shapes={"x": [8, 16]})):
        assert engine.read_back().layers[0].precision == "int8"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": [1, 16]}, "unknown input 'y'"),
        ({"x": [8, 3]}, r"input 'x' is \[-1, 16\] in the model and cannot be \[8, 3\]"),
        ({"x": [8]}, r"cannot be \[8\]"),
    ],
)
@pytest.mark.usefixtures("rtx")
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, list[int]], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        tensorrt.build(matmul("[node] z = MatMul(x, k)", batch="N"), shapes=shapes)


@pytest.mark.usefixtures("rtx")
def test_a_dynamic_size_other_than_the_batch_is_asked_for() -> None:
    graph = model("g (float[N,S,16] x) => (float[N,S,16] z) { [node] z = Relu(x) }")
    with pytest.raises(EngineError, match=r"Pass shapes=\{'x': \[...\]\}"):
        tensorrt.build(graph)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            f"{Q_X} {D_W} [d_b] bf = DequantizeLinear(bias, sx) [node] z = Conv(xf, wf, bf)",
            r"refuses node 'd_b' \(DequantizeLinear\): .*Int32.*float bias",
        ),
        (
            "[u8] c = Constant<value = uint8 {128}>() [q_x] xq = QuantizeLinear(x, sx, c) "
            "[d_x] xf = DequantizeLinear(xq, sx, c) [node] z = Conv(xf, v)",
            r"refuses node 'q_x' \(QuantizeLinear\): .*zero point",
        ),
    ],
    ids=["int32 bias", "zero point"],
)
@pytest.mark.usefixtures("rtx")
def test_the_parsers_refusals_name_the_node_and_the_way_out(nodes: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        tensorrt.build(conv(nodes))


def test_missing_tensorrt_comes_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    for gpu in (False, True):
        monkeypatch.setattr(tensorrt, "_gpu_present", lambda gpu=gpu: gpu)
        with pytest.raises(EngineMissing, match=r"pip install 'onnxq\[tensorrt-rtx\]'"):
            tensorrt.build(matmul("[node] z = MatMul(x, k)"))


NETWORK = model("""g (float[1,16,8,8] x, float[16,16,1,1] v, float[16,16,1,1] w) => (float[1,16,8,8] z)
<float s = {0.1}, int8 zero = {0}> {
    [quantize] q = QuantizeLinear(x, s, zero)
    [dequantize] a = DequantizeLinear(q, s, zero)
    [first] b = Conv(a, v)
    [relu] c = Relu(b)
    [second] d = Conv(c, w)
    [third] e = Conv(d, w)
    [lost] z = Conv(e, w)
}""")


def inspector(datatype_key: str) -> str:
    """An engine of three kernels, a quantization and a copy, in the inspector's words."""

    def tensor(datatype: str) -> dict[str, object]:
        return {"Name": "t", "Dimensions": [1, 16, 8, 8], datatype_key: datatype}

    def layer(name: str, kind: str, metadata: str, datatype: str, **rest: object) -> dict[str, object]:
        return {
            "Name": name,
            "LayerType": kind,
            "Inputs": [tensor(datatype)],
            "Outputs": [tensor("Row major linear FP32")],
            "Metadata": metadata,
            **rest,
        }

    int8 = "Thirty-two wide channel vectorized row major Int8 format"
    return json.dumps(
        {
            "Layers": [
                layer("quantize", "kgen", "[ONNX Layer: quantize]\x1e[ONNX Layer: first]", "Float"),
                layer("Reformatting CopyNode for Input Tensor 0", "Reformat", "", "Row major linear FP32"),
                layer(
                    "v + q + first + PWN(relu)",
                    "CaskConvolution",
                    "[ONNX Layer: first]\x1e[ONNX Layer: relu]",
                    int8,
                    Weights={"Type": "Int8", "Count": 256},
                ),
                layer(
                    "second_myl0_1",
                    "conv",
                    "[ONNX Layer: second]\x1e[ONNX Layer: dequantize]",
                    "Row major linear FP16 format (kLINEAR)",
                    Constants=[tensor("Half")],
                ),
                layer("__myl_Mul_myl0_2", "kgen", "[ONNX Layer: third]", "Int8"),
            ],
            "Bindings": ["x", "z"],
        }
    )


@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype", "DataType"])
def test_the_inspectors_json_is_read(key: str) -> None:
    layers = parse_json(inspector(key))
    assert read_layers(NETWORK, layers) == (
        Layer("first", "Conv", "int8", "CaskConvolution"),
        Layer("second", "Conv", "fp16", "conv"),
        Layer("third", "Conv", "unknown", "only in fused kgen kernels"),
        Layer("lost", "Conv", "unknown", "no layer of the engine names it"),
    )
    assert count_conversions(NETWORK, layers) == 2  # the quantization and the copy


def test_an_account_in_another_form_is_an_error() -> None:
    with pytest.raises(EngineError, match="DETAILED"):
        parse_json('{"Layers": ["first", "second"]}')
    with pytest.raises(EngineError, match="unknown form: 'Name: first, Kind"):
        parse_lines("Layers:\nName: first, Kind: conv")


def test_a_neighbour_that_took_over_a_scale_does_not_decide() -> None:
    line = (
        "Name: {0}_myl0_1, LayerType: correlation, Inputs: [ {{ Name: t, Datatype: {1}, Format: NHWC }}], "
        "Constants: [ {{ Name: c, Dimensions: [16,16,1,1], Datatype: {1}, Format: NHWC }}], Outputs: [], "
        "TacticName: tactic, StreamId: 0, Metadata: [ONNX Layer: first]\x1f[ONNX Layer: {0}]"
    )
    text = "\n".join(["Layers:", line.format("second", "Float"), line.format("first", "Int8"), "", "Bindings:"])
    first, second, *_ = read_layers(NETWORK, parse_lines(text))
    assert (first.precision, second.precision) == ("int8", "fp32")


@pytest.mark.parametrize("float_type", ["fp32", "fp16"])
@pytest.mark.usefixtures("rtx")
def test_layers_compute_in_8_bit_floats_on_request(float_type: str) -> None:
    text = """g (float[N,16,8,8] x) => (float[N,10] y) { [one] a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a)
        [two] c = Conv(b, v) p = GlobalAveragePool(c) f = Flatten(p) [three] y = MatMul(f, m) }"""
    weights: dict[str, Any] = {"w": scaled(32, 16, 3, 3), "v": scaled(64, 32, 1, 1), "m": normal(64, 10, scale=1 / 8)}
    options = Options(numbers="fp8", float_type=float_type)
    entry = quantize(parse(text, **weights), {"x": normal(16, 16, 8, 8)}, backend="tensorrt", options=options)[
        "tensorrt"
    ]
    assert entry.built is not None and entry.judged is not None
    assert [layer.precision for layer in entry.built.reading.layers] == ["fp8"] * 3
    assert 24 < entry.judged.graph[0].sqnr_db < 36
    assert {entry.op_type for entry in entry.model.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}


def test_where_there_are_no_8_bit_floats_it_is_said() -> None:
    model, samples = parse("g (float[N,32] x) => (float[N,32] y) { y = MatMul(x, w) }", w=normal(32, 32)), normal(8, 32)
    with pytest.raises(RecipeError, match=r"no FP8 \(--numbers\): OpenVINO"):
        quantize(model, samples, backend="openvino", options=Options(numbers="fp8"))
    both = quantize(model, samples, backend=("openvino", "tensorrt"), options=Options(numbers="fp8", build=False))
    assert any("no FP8" in entry.reason for entry in both["openvino"].ledger.of("declined"))
    assert not any("no FP8" in entry.reason for entry in both["tensorrt"].ledger.of("declined"))
