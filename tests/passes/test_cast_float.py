"""What stays float becomes 16-bit, the interface does not, and scales and integers follow."""

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from onnxq.errors import ModelError, RecipeError
from onnxq.passes import Calibrate, CastFloat, InsertQdq, PlanIntegers, RoundWeights
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace
from onnxq.validation import validated
from onnxq.workspace import Workspace

FP16, BF16, FP32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
BODY = "[one] a = Conv<pads=[1,1,1,1]>(x, w, bias) [act] b = Sigmoid(a) [add] d = Mul(b, a) [two] e = Conv(d, v)"
GRAPH = f"g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {BODY} [tail] y = Tanh(e) }}"
WEIGHTS: dict[str, Any] = {"w": normal(4, 3, 3, 3), "v": normal(4, 4, 1, 1), "bias": normal(4)}
X = normal(8, 3, 8, 8)


def quantized(text: str = GRAPH, backend: str = "tensorrt", x: Any = X, **weights: Any) -> Workspace:
    space = workspace(parse(text, **{**WEIGHTS, **weights}), {"x": x}, backend)
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    return space


def types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor; the model must be valid with all types inferred."""
    onnx.checker.check_model(model, full_check=True)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize(("to", "dtype", "opset"), [("fp16", FP16, 19), ("bf16", BF16, 22)])
def test_everything_between_the_interface_is_16_bit(to: Any, dtype: int, opset: int) -> None:
    space = quantized()
    before = space.model()
    assert CastFloat(to)(space)
    model = space.model()
    found = types(model)
    assert model.opset_import[0].version == opset
    assert [found[name] for name in ("x", "y")] == [FP32, FP32]
    assert {found[name] for name in ("a", "b", "d", "e", "x/dequantized", "d/dequantized", "w/dequantized")} == {dtype}
    # The input is quantized as it is, and dequantized as FP16: no Cast is needed there.
    assert ops(model).count("Cast") == 1
    assert found[next(node for node in model.graph.node if node.op_type == "Cast").input[0]] == dtype
    assert ops(model).count("DequantizeLinear") == ops(before).count("DequantizeLinear")
    assert changes_nothing(space, CastFloat(to))


def test_the_graph_in_fp16_answers_as_before() -> None:
    space = quantized()
    reference = run(space, x=X)["y"]
    CastFloat("fp16")(space)
    assert sqnr_db(reference, run(space, x=X)["y"]) > 40
    assert space.stand_in is None


def test_onnxruntime_judges_what_was_there_before_the_cast_to_bf16() -> None:
    space = quantized()
    reference = run(space, x=X)["y"]
    CastFloat("bf16")(space)
    assert space.stand_in is not None
    np.testing.assert_array_equal(run(space.stand_in, x=X)["y"], reference)
    assert "judged as it was before the cast" in space.ledger.of("warning")[0].reason


def scale_of(model: onnx.ModelProto, node_op: str, tensor: str) -> np.ndarray[Any, Any]:
    node = next(node for node in model.graph.node if node.op_type == node_op and node.name.startswith(f"{tensor}/"))
    (stored,) = (entry for entry in model.graph.initializer if entry.name == node.input[1])
    array: np.ndarray[Any, Any] = onnx.numpy_helper.to_array(stored)
    return array


@pytest.mark.parametrize(("to", "dtype"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_a_scale_has_one_value_in_the_types_of_its_q_and_its_dq(to: Any, dtype: Any) -> None:
    space = quantized()
    exact = space.activations["x"].scale
    CastFloat(to)(space)
    model = space.model()
    q, dq = scale_of(model, "QuantizeLinear", "x"), scale_of(model, "DequantizeLinear", "x")
    assert (q.dtype, dq.dtype) == (np.float32, dtype)
    assert q == dq.astype(np.float32) == exact.astype(dtype).astype(np.float32)


def test_a_scale_too_small_for_fp16_is_widened_and_its_integers_follow() -> None:
    weight = normal(4, 4, 1, 1)
    weight[2] *= 1e-7  # a channel that training has left for dead
    space = quantized(v=weight)
    exact = space.weights[next(entry for entry in space.weights if entry.tensor == "v")]
    CastFloat("fp16")(space)
    model = space.model()
    scale = scale_of(model, "DequantizeLinear", "v").astype(np.float64)
    node = next(node for node in model.graph.node if node.name == "v/DequantizeLinear")
    integers = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[0])
    assert scale[2] == 2.0**-18
    assert not integers[2].any()  # they are far below half a step
    np.testing.assert_array_equal(integers[[0, 1, 3]], exact.integers[[0, 1, 3]])
    assert [entry.subject for entry in space.ledger.of("clipped")] == ["v/scale"]
    assert types(model)["v/dequantized"] == FP16


def test_what_overflows_stays_fp32_with_a_reason() -> None:
    text = (
        "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { [one] a = Conv<pads=[1,1,1,1]>(x, w, bias) [big] b = Mul(a, k) "
        "[small] c = Div(b, k) [two] e = Conv(c, v) [tail] y = Tanh(e) }"
    )
    space = quantized(text, k=np.float32(1e5))
    reference = run(space, x=X)["y"]
    CastFloat("fp16")(space)
    model = space.model()
    found = types(model)
    assert (found["a"], found["b"], found["c"]) == (FP16, FP32, FP32)
    kept = {entry.subject: entry.reason for entry in space.ledger.of("float")}
    assert kept.keys() == {"big", "small"}
    assert kept["big"].startswith("Mul: computes in FP32, for 'k' reaches 1e+05, and FP16 holds 6.55e+04")
    assert sqnr_db(reference, run(model, x=X)["y"]) > 40


def test_a_mask_of_the_least_float_stays_fp32() -> None:
    text = (
        "g (float[N,4,8] x, float[1,1,8] m) => (float[N,4,4] y) { [a] q = MatMul(x, k) [hide] n = Mul(m, least) "
        "[sum] s = Add(q, n) [soft] p = Softmax(s) [out] y = MatMul(p, u) }"
    )
    weights: dict[str, Any] = {"k": normal(8, 8), "u": normal(8, 4), "least": np.float32(-3.4e38)}
    mask = np.zeros((2, 1, 8), np.float32)
    mask[:, :, 5:] = 1
    space = workspace(parse(text, **weights), {"x": normal(2, 4, 8), "m": mask}, "tensorrt")
    feeds = {"x": normal(2, 4, 8), "m": mask[:1]}
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    reference = run(space, **feeds)["y"]
    CastFloat("fp16")(space)
    assert {entry.subject for entry in space.ledger.of("float")} == {"hide", "sum", "soft"}
    assert sqnr_db(reference, run(space, **feeds)["y"]) > 40


def test_an_output_that_is_read_again_keeps_its_name_and_type() -> None:
    text = f"g (float[N,3,8,8] x) => (float[N,4,8,8] d, float[N,4,8,8] y) {{ {BODY} [tail] y = Tanh(e) }}"
    space = quantized(text)
    reference = run(space, x=X)
    CastFloat("fp16")(space)
    model = space.model()
    assert [output.name for output in model.graph.output] == ["d", "y"]
    found = types(model)
    assert [found[name] for name in ("d", "y", "d/dequantized")] == [FP32, FP32, FP16]
    assert all(sqnr_db(reference[name], array) > 35 for name, array in run(model, x=X).items())


def test_a_body_reads_what_it_read() -> None:
    text = """g (float[N,3,8,8] x, bool flag) => (float[N,4,8,8] y) { [one] a = Conv<pads=[1,1,1,1]>(x, w, bias)
        [act] b = Sigmoid(a) [two] c = Conv(b, v) [choice] d = If (flag) <
            then_branch = t () => (float[N,4,8,8] p) { [inner] p = Tanh(c) },
            else_branch = e () => (float[N,4,8,8] q) { q = Identity(c) }> [three] y = Conv(d, v) }"""
    space = workspace(parse(text, **WEIGHTS), {"x": X, "flag": np.ones(8, bool)}, "tensorrt")
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq(), CastFloat("fp16")):
        step(space)
    found = types(space.model())
    assert (found["b"], found["c"]) == (FP16, FP32)


def test_fp32_changes_nothing() -> None:
    assert changes_nothing(quantized(), CastFloat("fp32"))


@pytest.mark.parametrize(
    ("backend", "reason"), [("openvino", "INFERENCE_PRECISION_HINT"), ("onnxruntime", "next to no kernels")]
)
def test_other_backends_decline_in_words(backend: str, reason: str) -> None:
    space = quantized(backend=backend)
    assert changes_nothing(space, CastFloat("fp16"))
    assert reason in space.ledger.of("declined")[0].reason


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(RecipeError, match="fp32"):
        validated(CastFloat, {"to": "fp8"}, "recipe")


def test_a_model_that_cannot_be_raised_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no adapter for Foo")

    space = quantized()
    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    with pytest.raises(ModelError, match=r"16-bit floats need opset 19; the upgrade from 17 failed.*--float fp32"):
        CastFloat("fp16")(space)
