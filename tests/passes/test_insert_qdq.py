"""The plan, written into the graph."""

from typing import Any, Literal

import numpy as np
import onnx
import pytest

from onnxq.backends import backend_of
from onnxq.errors import ModelError
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.scheme import dequantize
from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, changes_nothing, normal, ops, parse, run, workspace
from onnxq.weight_forms import Pack
from onnxq.workspace import Pass, Workspace

BODY = "[one] a = Conv<pads=[1,1,1,1]>(x, w) [act] b = Relu(a) [two] c = Conv(b, v)"
GRAPH = f"g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {BODY} [add] d = Add(c, b) [three] y = Conv(d, v) }}"
WEIGHTS: dict[str, Any] = {"w": normal(4, 3, 3, 3), "v": normal(4, 4, 1, 1)}
X = normal(8, 3, 8, 8)


def quantized(text: str = GRAPH, backend: str = "onnxruntime", **weights: Array) -> Workspace:
    space = workspace(parse(text, **(weights or WEIGHTS)), {"x": X}, backend)
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        assert step(space), step
    return space


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt", "snpe", "vitis"])
def test_the_graph_is_valid_close_and_not_changed_again(backend: str) -> None:
    space = quantized(backend=backend)
    model = space.model()
    onnx.checker.check_model(model, full_check=True)
    kinds = ops(model)
    assert kinds.count("QuantizeLinear") == len(space.plan.activations)
    assert kinds.count("DequantizeLinear") == len(space.plan.activations) + 2
    assert [value.name for value in model.graph.output] == ["y"] and [value.name for value in model.graph.input] == [
        "x"
    ]
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert 22 < sqnr_db(run(space.source, x=X)["y"], run(model, x=X)["y"]) < 60
    assert changes_nothing(space, InsertQdq())


def test_weights_are_stored_as_integers_once_for_all_readers() -> None:
    space = quantized()
    stored = {tensor.name: tensor for tensor in space.model().graph.initializer}
    assert stored["v/quantized"].data_type == onnx.TensorProto.INT8 and not {"v", "w"} & stored.keys()
    weight = onnx.numpy_helper.to_array(stored["v/quantized"]) * onnx.numpy_helper.to_array(stored["v/scale"]).reshape(
        -1, 1, 1, 1
    )
    assert np.abs(weight - WEIGHTS["v"]).max() < 0.51 * np.abs(WEIGHTS["v"]).max() / 127
    readers = [node.input[1] for node in space.model().graph.node if node.name in ("two", "three")]
    assert readers == ["v/dequantized"] * 2


def test_every_quantizer_has_an_explicit_zero_point() -> None:
    model = quantized(backend="tensorrt").model()
    zeros = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert zeros[node.input[2]].data_type == onnx.TensorProto.INT8
            assert not onnx.numpy_helper.to_array(zeros[node.input[2]]).any()


def test_readers_that_want_floats_keep_them() -> None:
    space = quantized(
        f"g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {BODY} [e] d = Exp(b) [s] y = Add(c, d) }}", "openvino"
    )
    inputs = {node.name: node.input[0] for node in space.model().graph.node}
    assert (inputs["two"], inputs["e"]) == ("b/dequantized", "b")


def test_an_output_of_the_model_that_is_quantized_keeps_its_name() -> None:
    space = quantized(f"g (float[N,3,8,8] x) => (float[N,4,8,8] b, float[N,4,8,8] c) {{ {BODY} }}")
    model = space.model()
    assert [value.name for value in model.graph.output] == ["b", "c"]
    makers = {node.output[0]: node.op_type for node in model.graph.node}
    assert (makers["b"], makers["c"]) == ("DequantizeLinear", "DequantizeLinear")
    assert sqnr_db(run(space.source, x=X)["b"], run(model, x=X)["b"]) > 30


def test_names_that_the_model_has_already_are_not_taken() -> None:
    text = f"""g (float[N,3,8,8] x) => (float[N,4,8,8] y, float[N,3,8,8] z) {{ {BODY} [e] y = Exp(c)
        [far] z = Mul(x, scaled) }}"""
    model = parse(text, **WEIGHTS, scaled=np.array([3], np.float32))
    for node in model.graph.node:
        node.input[:] = ["x/scale" if name == "scaled" else name for name in node.input]
    model.graph.initializer[2].name = "x/scale"
    space = workspace(model, {"x": X})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    np.testing.assert_array_equal(run(space, x=X)["z"], 3 * X)


def test_a_branch_reads_what_the_main_graph_quantized() -> None:
    text = f"""g (float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {BODY} [s] m = ReduceMax<keepdims=0>(x)
        [k] flag = Greater(m, m) [choice] y = If (flag) <
            then_branch = t () => (float[N,4,8,8] u) {{ [inner] u = Exp(c) }},
            else_branch = e () => (float[N,4,8,8] v2) {{ v2 = Neg(c) }}> }}"""
    space = quantized(text)
    assert sqnr_db(run(space.source, x=X)["y"], run(space, x=X)["y"]) > 25


def test_metadata_stays_and_every_node_has_a_name_of_its_own() -> None:
    source = parse(GRAPH, **WEIGHTS)
    source.metadata_props.add(key="classes", value="cat")
    space = workspace(source, {"x": X})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    assert space.model().metadata_props[0].value == "cat"
    names = [node.name for node in space.model().graph.node]
    assert len(set(names)) == len(names) and all(names)


def test_a_logarithmic_grid_is_simulated_around_q_and_dq() -> None:
    space = quantized(backend="nnie")
    model = space.model()
    onnx.checker.check_model(model, full_check=True)
    kinds = ops(model)
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == len(space.plan.activations)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert stored["v/rounded"].dtype == np.float32 and not {"v", "w"} & stored.keys()
    steps = 16 * np.log2(np.abs(stored["v/rounded"][stored["v/rounded"] != 0]))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert 25 < sqnr_db(run(space.source, x=X)["y"], run(model, x=X)["y"]) < 60
    assert changes_nothing(space, InsertQdq())


DEEP = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Conv<pads=[1,1,1,1]>(a, w) }"
DEEP_X, DEEP_W = normal(8, 16, 8, 8), normal(16, 16, 3, 3, scale=1 / 12)


def packed(backend: str, pack: Pack, bits: Literal[2, 3, 4] = 4, opset: int = 17) -> Workspace:
    space = workspace(parse(DEEP, opset, w=DEEP_W), {"x": DEEP_X}, backend)
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(bits, solver="nearest"), InsertQdq(pack)):
        assert step(space), step
    return space


@pytest.mark.parametrize(("backend", "bits", "kind"), [("onnxruntime", 4, "INT4"), ("onnxruntime", 2, "INT2"),
                                                       ("openvino", 4, "INT4"), ("openvino", 2, "INT4")])  # fmt: skip
def test_packed_weights_are_smaller_and_run_in_integers_as_before(backend: str, bits: Literal[2, 4], kind: str) -> None:
    space, plain = packed(backend, "auto", bits), packed(backend, "never", bits).model()
    model = space.model()
    onnx.checker.check_model(model, full_check=True)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}["w/quantized"]
    assert onnx.TensorProto.DataType.Name(stored.data_type) == kind
    assert len(stored.raw_data) == DEEP_W.size * int(kind[-1]) // 8
    assert model.ByteSize() < plain.ByteSize() - 0.4 * DEEP_W.size
    np.testing.assert_array_equal(run(model, x=DEEP_X)["y"], run(plain, x=DEEP_X)["y"])
    engine = backend_of(backend).engine(model, {"x": DEEP_X.shape})
    assert {layer.precision for layer in engine.read_back().layers} == {"int8"}
    assert sqnr_db(run(model, x=DEEP_X)["y"], engine.run({"x": DEEP_X})["y"]) > 35
    said = [entry.reason for entry in space.ledger.of("changed")]
    assert said == [f"opset 17 raised to {25 if kind == 'INT2' else 21}", f"1 weight is stored as {kind}, packed"]
    assert changes_nothing(space, InsertQdq())


def test_weights_stay_in_8_bits_where_the_engine_would_compute_in_float_and_say_so_once() -> None:
    space = packed("tensorrt", "auto")
    (declined,) = [entry for entry in space.ledger.of("declined") if entry.stage == "insert_qdq"]
    assert "1 weight is stored in 8 bits: TensorRT has no fast kernel" in declined.reason
    assert space.graph.opset == 17
    (declined,) = [entry for entry in packed("tensorrt", "always").ledger.of("declined") if entry.stage == "insert_qdq"]
    assert "TensorRT takes packed weights around zero only" in declined.reason


def test_bodies_of_if_are_no_place_for_packed_types() -> None:
    text = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)
        m = ReduceMax<keepdims=0>(x) flag = Greater(m, m) y = If (flag) <
            then_branch = t () => (float[N,16,8,8] u) { u = Exp(a) },
            else_branch = e () => (float[N,16,8,8] v2) { v2 = Neg(a) }> }"""
    space = workspace(parse(text, w=DEEP_W), {"x": DEEP_X})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(4), InsertQdq()):
        step(space)
    assert "does not raise bodies of If" in space.ledger.of("declined")[-1].reason
    assert not any(tensor.data_type == onnx.TensorProto.INT4 for tensor in space.model().graph.initializer)


def test_blocks_are_refused_where_no_opset_has_them() -> None:
    text = """g (float[32,96] x) => (float[32,128] y) { a = MatMul(x, w)
        m = ReduceMax<keepdims=0>(x) flag = Greater(m, m)
        y = If (flag) < then_branch = t () => (float[32,128] u) { u = Exp(a) },
                        else_branch = e () => (float[32,128] v2) { v2 = Neg(a) }> }"""
    space = workspace(parse(text, w=normal(96, 128)), {"x": normal(32, 96)})
    for step in (PlanIntegers(activations=False), RoundWeights(4, solver="nearest", block_size=32)):
        step(space)
    with pytest.raises(ModelError, match=r"--block-size.*opset 21.*bodies of If.*--weight-bits 8"):
        InsertQdq()(space)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
@pytest.mark.parametrize(
    ("op", "solver"),
    [("MatMul", "nearest"), ("Gemm<transB=1>", "nearest"), ("MatMul", "gptq"), ("Gemm<transB=1>", "mse")],
)
def test_blocks_of_4_bits_are_read_packed_by_engines(backend: str, op: str, solver: str) -> None:
    w, x = normal(96, 128, scale=0.1), normal(32, 96)
    held = w if op == "MatMul" else np.ascontiguousarray(w.T)
    text = f"g (float[32,96] x) => (float[32,128] y) {{ [one] y = {op}(x, w) }}"
    space = workspace(parse(text, w=held), {"x": x}, backend)
    steps: list[Pass] = [PlanIntegers(activations=False), RoundWeights(4, solver=solver, block_size=32), InsertQdq()]
    for step in (*steps, *space.backend.lowering):
        step(space)
    model = space.model()
    onnx.checker.check_model(model, full_check=True)
    assert ops(model)[0] == "DequantizeLinear" and "QuantizeLinear" not in ops(model)
    assert model.ByteSize() < 0.26 * w.nbytes
    wide = workspace(parse(text, w=held), {"x": x}, backend)
    for step in (PlanIntegers(activations=False), RoundWeights(4, solver=solver), InsertQdq()):
        step(wide)
    exact = x @ w
    assert sqnr_db(exact, run(model, x=x)["y"]) > max(19, sqnr_db(exact, run(wide, x=x)["y"]) + 0.5)
    engine = space.backend.engine(model, {})
    reading = engine.read_back()
    assert [layer.precision for layer in reading.layers] == ["int4 weights"]
    if reading.executed:
        assert sqnr_db(run(model, x=x)["y"], engine.run({"x": x})["y"]) > 35


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_integers_of_few_bits_lie_where_weights_do_and_kernels_see_zero_points_of_0(backend: str) -> None:
    space = packed(backend, "auto")
    graph = space.model().graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    (weight,) = space.weights.values()
    (read,) = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0].startswith("w")]
    assert not held[read.input[2]].any() and held[read.input[2]].dtype == np.int8
    if backend == "tensorrt":
        integers = held[read.input[0]]
    else:
        subtract = makers[read.input[0]]
        cast = makers[subtract.input[0]]
        assert (subtract.op_type, cast.op_type) == ("Sub", "Cast")
        integers = held[cast.input[0]].astype(np.int8) - held[subtract.input[1]]
    assert weight.params.scheme.shifted and weight.params.zero_point.any()
    real = integers * held[read.input[1]].reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(real, dequantize(weight.integers, weight.params), rtol=1e-6)
