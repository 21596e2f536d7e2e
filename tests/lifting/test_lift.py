"""Quantized models of every style become the float model they stand for, and give up their grids."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from onnxq.errors import ModelError
from onnxq.lifting.lift import Learned, Lifted, lift
from onnxq.scheme import dequantize
from onnxq.scheme import quantize as on_grid
from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, normal, ops, parse, run

QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
S, Z8, ZU = np.array(0.05, np.float32), np.array(0, np.int8), np.array(0, np.uint8)


def grid(lifted: Lifted, tensor: str) -> Learned:
    (found,) = lifted.activations[tensor]
    return found


def initializer(model: onnx.ModelProto, name: str) -> Array:
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def node(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    (found,) = (entry for entry in model.graph.node if entry.op_type == op)
    return found


def lifted_like(model: onnx.ModelProto, least_db: float, **feeds: Array) -> Lifted:
    """The lifted model, which has no quantizer left, is valid, and answers as the quantized one does."""
    found = lift(model)
    assert not QUANTIZERS & set(ops(found.model))
    onnx.checker.check_model(found.model, full_check=True)
    before, after = run(model, **feeds), run(found.model, **feeds)
    for name in before:
        assert before[name].dtype == after[name].dtype
        assert sqnr_db(after[name], before[name]) > least_db
    assert lift(found.model).model.graph == found.model.graph  # the second run
    return found


CONV = """g (float[N,2,5,5] x) => (float[N,4,3,3] y) {
    xq = QuantizeLinear(x, s, zu) xd = DequantizeLinear(xq, s, zu)
    wq = QuantizeLinear<axis = 0>(w, ws, wz) wd = DequantizeLinear<axis = 0>(wq, ws, wz)
    [conv] y = Conv(xd, wd, b)
}"""


def test_weights_of_quantization_aware_training_become_constants_on_their_grid() -> None:
    w, ws = normal(4, 2, 3, 3), np.array([0.02, 0.03, 0.04, 0.05], np.float32)
    given = parse(CONV, w=w, b=normal(4), s=S, zu=np.array(128, np.uint8), ws=ws, wz=np.zeros(4, np.int8))
    found = lifted_like(given, 25, x=normal(1, 2, 5, 5))
    conv = node(found.model, "Conv")
    assert (conv.name, list(conv.input)) == ("conv", ["x", "w", "b"])
    assert grid(found, "x").readers == {("conv", 0)}
    assert grid(found, "x").params.zero_point == 128
    kept = found.weights["w"]
    assert np.array_equal(kept.params.scale, ws)
    assert kept.params.scheme.axis == 0
    shape = (-1, 1, 1, 1)
    assert np.array_equal(kept.integers, np.clip(np.rint(w / ws.reshape(shape)), -128, 127))
    assert np.array_equal(initializer(found.model, "w"), kept.integers * ws.reshape(shape))


def test_a_weight_moved_behind_its_quantizer_keeps_its_grid() -> None:
    graph = """g (float[N,3] x) => (float[N,5] y) {
        wd = DequantizeLinear<axis = 0>(w, ws) wt = Transpose<perm = [1, 0]>(wd) y = MatMul(x, wt) }"""
    w, ws = np.arange(-7, 8, dtype=np.int8).reshape(5, 3), normal(5) ** 2 + 0.1
    found = lifted_like(parse(graph, w=w, ws=ws), 100, x=normal(2, 3))
    assert ops(found.model) == ["MatMul"]
    (kept,) = found.weights.values()
    assert kept.params.scheme.axis == 1
    assert np.array_equal(kept.integers, w.T)
    assert np.array_equal(kept.params.scale, ws)


def test_one_weight_dequantized_for_each_reader_is_one_constant() -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        a = DequantizeLinear(w, s) b = DequantizeLinear(w, s) p = MatMul(x, a) y = MatMul(p, b) }"""
    found = lifted_like(parse(graph, w=normal(3, 3, scale=50).astype(np.int8), s=S), 100, x=normal(2, 3))
    assert [t.name for t in found.model.graph.initializer] == ["w"]
    assert list(found.weights) == ["w"]


def test_one_tensor_on_two_grids_keeps_both_with_their_readers() -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        q2 = QuantizeLinear(x, s2, z) d2 = DequantizeLinear(q2, s2, z)
        [one] a = MatMul(d, w) [two] b = MatMul(d2, w) y = Add(a, b) }"""
    given = parse(graph, w=normal(3, 3), s=S, s2=np.array(0.1, np.float32), z=Z8)
    found = lifted_like(given, 20, x=normal(8, 3))
    assert {(float(e.params.scale), tuple(e.readers)) for e in found.activations["x"]} == {
        (float(S), (("one", 0),)),
        (float(np.float32(0.1)), (("two", 0),)),
    }


def test_a_quantized_output_keeps_its_name() -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        a = MatMul(x, w) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }"""
    found = lifted_like(parse(graph, w=normal(3, 3), s=S, z=Z8), 20, x=normal(8, 3))
    assert [(n.op_type, *n.output) for n in found.model.graph.node] == [("MatMul", "y")]
    assert grid(found, "y").output


def test_integer_inputs_and_outputs_stay_what_they_are() -> None:
    graph = """g (uint8[N,3] x) => (int8[N,3] y) {
        d = DequantizeLinear(x, s, zx) [mul] a = MatMul(d, w) y = QuantizeLinear(a, s, z) }"""
    given = parse(graph, w=normal(3, 3), s=S, zx=np.array(7, np.uint8), z=np.array(-3, np.int8))
    x = np.random.default_rng(0).integers(0, 255, (9, 3), np.uint8)
    found = lift(given)
    assert not QUANTIZERS & set(ops(found.model))
    before, after = run(given, x=x)["y"], run(found.model, x=x)["y"]
    assert after.dtype == np.int8
    assert np.array_equal(before, after)
    ((tensor, (learned,)),) = found.activations.items()
    assert learned.readers == {("mul", 0)}
    assert tensor == node(found.model, "MatMul").input[0]
    assert {e.reason for e in found.notes} == {
        "integers that the model is given are turned into reals in float",
        "integers that the model gives are computed in float",
    }


def test_operators_that_move_integers_move_floats() -> None:
    graph = """g (float[1,2,4,4] x) => (float[1,4,4,2] y) {
        q = QuantizeLinear(x, s, z) p = MaxPool<kernel_shape = [2, 2]>(q) e = Pad(p, pads, fill)
        t = Transpose<perm = [0, 2, 3, 1]>(e) y = DequantizeLinear(t, s, z) }"""
    pads = np.array([0, 0, 1, 0, 0, 0, 0, 1])
    given = parse(graph, s=S, z=np.array(100, np.uint8), pads=pads, fill=np.array(90, np.uint8))
    found = lifted_like(given, 25, x=normal(1, 2, 4, 4))
    assert ops(found.model) == ["MaxPool", "Pad", "Transpose"]
    (pool,) = (n.name for n in found.model.graph.node if n.op_type == "MaxPool")
    assert grid(found, "x").readers == {(pool, 0)}
    assert grid(found, "y").output


def test_integers_read_on_another_grid_are_scaled_and_shifted() -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s2, z2) }"""
    given = parse(graph, s=S, z=Z8, s2=np.array(0.1, np.float32), z2=np.array(5, np.int8))
    found = lifted_like(given, 25, x=normal(8, 3))
    assert ops(found.model) == ["Mul", "Add"]
    assert "another" in found.notes[0].reason


def test_a_scale_computed_at_run_time_leaves_no_grid() -> None:
    graph = """g (float[N,3] x, float s) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, w) }"""
    found = lifted_like(parse(graph, w=normal(3, 3), z=Z8), 20, x=normal(8, 3), s=np.asarray(S))
    assert found.activations == {}
    assert "computed at run time" in found.notes[0].reason


def test_a_grid_in_blocks_is_left_and_said_to_be() -> None:
    graph = """g (float[N,8] x) => (float[N,3] y) {
        d = DequantizeLinear<axis = 0, block_size = 4>(w, ws) y = MatMul(x, d) }"""
    found = lifted_like(
        parse(graph, opset=21, w=normal(8, 3, scale=40).astype(np.int8), ws=normal(2, 3) ** 2), 100, x=normal(2, 8)
    )
    assert dict(found.weights) == {}
    assert found.lost == {"w"}
    assert "blocks of 4" in found.notes[0].reason


def test_four_bits_per_channel_are_kept_in_eight() -> None:
    values = np.arange(-8, 8).reshape(8, 2)
    packed = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [8, 2], values.flatten())
    graph = "g (float[N,8] x) => (float[N,2] y) { d = DequantizeLinear<axis = 1>(w, ws) y = MatMul(x, d) }"
    given = parse(graph, opset=21, ws=np.array([0.1, 0.2], np.float32))
    given.graph.initializer.append(packed)
    found = lifted_like(given, 100, x=normal(2, 8))
    kept = found.weights["w"]
    assert kept.params.scheme.bits == 4
    assert kept.integers.dtype == np.int8
    assert np.array_equal(kept.integers, values)


def test_float8_leaves_no_grid() -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, w) }"""
    given = parse(graph, opset=19, w=normal(3, 3), s=S)
    given.graph.initializer.append(onnx.helper.make_tensor("z", onnx.TensorProto.FLOAT8E4M3FN, [], [0.0]))
    found = lift(given)
    assert ops(found.model) == ["MatMul"]
    assert found.activations == {}
    assert "float8" in found.notes[0].reason


@pytest.mark.parametrize("opset", [10, 13, 21, 25])
def test_opsets(opset: int) -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) wd = DequantizeLinear(w, s, z) y = MatMul(d, wd) }"""
    given = parse(graph, opset=opset, w=normal(3, 3, scale=40).astype(np.int8), s=S, z=Z8)
    found = lift(given)
    assert ops(found.model) == ["MatMul"]
    assert (len(found.activations), len(found.weights)) == (1, 1)


@pytest.mark.parametrize("zero", [np.array(300, np.int16), np.array(30000, np.uint16)])
def test_onnxruntimes_own_quantizers_of_16_bits(zero: Array) -> None:
    graph = """g (float[N,3] x) => (float[N,3] y) {
        q = com.microsoft.QuantizeLinear(x, s, z) d = com.microsoft.DequantizeLinear(q, s, z) y = MatMul(d, w) }"""
    given = parse(graph, w=normal(3, 3), s=np.array(0.001, np.float32), z=zero)
    given.opset_import.append(make_opsetid("com.microsoft", 1))
    found = lifted_like(given, 50, x=normal(8, 3))
    assert grid(found, "x").params.scheme.bits == 16
    assert grid(found, "x").params.zero_point == zero


def test_bodies_are_lifted() -> None:
    graph = """g (bool c, float[N,3] x) => (float[N,3] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        y = If<then_branch = t () => (float[N,3] a) { [inner] a = MatMul(d, w) },
               else_branch = e () => (float[N,3] b) {
                   f = MatMul(d, w) g = QuantizeLinear(f, s, z) b = DequantizeLinear(g, s, z) }>(c) }"""
    given = parse(graph, w=normal(3, 3), s=S, z=Z8)
    found = lift(given)
    for answer in (True, False):
        feeds = {"c": np.array(answer), "x": normal(8, 3)}
        assert sqnr_db(run(found.model, **feeds)["y"], run(given, **feeds)["y"]) > 20
    assert b"QuantizeLinear" not in found.model.SerializeToString()
    assert ("inner", 0) in grid(found, "x").readers


@pytest.mark.parametrize(
    ("make", "scale", "added"),
    [
        ("MatMul(x, w)", 0.05, ["Relu"]),
        ("MatMul(x, w)", 6 / 255, ["Clip"]),
        ("Sigmoid(x)", 0.05, []),
    ],
)
def test_a_relu_that_the_grid_stood_for_is_written_out(make: str, scale: float, added: list[str]) -> None:
    graph = f"""g (float[N,3] x) => (float[N,3] y) {{
        a = {make} q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z) y = MatMul(d, w) }}"""
    found = lifted_like(parse(graph, w=normal(3, 3), s=np.array(scale, np.float32), z=ZU), 25, x=normal(8, 3))
    assert [op for op in ops(found.model) if op in ("Relu", "Clip")] == added


ONE = ("x", "s", "z")
OPERATORS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "QLinearAdd": ([*ONE, *ONE, "s", "z"], {}),
    "QLinearMul": ([*ONE, *ONE, "s", "z"], {}),
    "QLinearConcat": (["s", "z", *ONE, *ONE], {"axis": 1}),
    "QLinearGlobalAveragePool": ([*ONE, "s", "z"], {}),
    "QLinearAveragePool": ([*ONE, "s", "z"], {"kernel_shape": [2, 2]}),
    "QLinearSigmoid": ([*ONE, "s", "z"], {}),
    "QLinearLeakyRelu": ([*ONE, "s", "z"], {"alpha": 0.1}),
    "QLinearSoftmax": ([*ONE, "s", "z"], {"axis": -1, "opset": 13}),
    "QLinearWhere": (["c", *ONE, *ONE, "s", "z"], {}),
}


@pytest.mark.parametrize("op", OPERATORS)
def test_operators_of_onnxruntime_on_integers(op: str) -> None:
    inputs, attributes = OPERATORS[op]
    names = ["xq" if name == "x" else name for name in inputs]
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        make_node(op, names, ["q"], "layer", domain="com.microsoft", **attributes),
        make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    value = make_tensor_value_info
    constants: dict[str, Array] = {
        "s": np.array(0.02, np.float32),
        "z": np.array(110, np.uint8),
        "c": np.array([True, False, True]),
    }
    held = [onnx.numpy_helper.from_array(a, n) for n, a in constants.items() if n != "c" or n in names]
    given = make_model(
        make_graph(nodes, "g", [value("x", 1, [1, 2, 3, 3])], [value("y", 1, None)], held),
        opset_imports=[make_opsetid("", 13), make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    found = lift(given)
    before, after = (run(model, x=normal(1, 2, 3, 3, scale=0.4))["y"] for model in (given, found.model))
    assert op.removeprefix("QLinear") in ops(found.model)
    assert np.abs(before - after).max() <= 0.02 * 2.5  # steps of the grid: of both inputs, and of the result
    assert before.std() > 0.05


def test_products_on_integers() -> None:
    graph = """g (float[1,2,5,5] x) => (float[4,3] y) {
        xq = QuantizeLinear(x, s, z) [conv] cq = QLinearConv(xq, s, z, w, ws, wz, s, z, b) flat = Reshape(cq, shape)
        [gemm] gq = com.microsoft.QGemm<transB = 1, alpha = 2.0>(flat, s, z, v, vs, wz0, c, s, z)
        [mat] mq = QLinearMatMul(gq, s, z, u, us, wz3, s, z)
        y = DequantizeLinear(mq, s, z) }"""
    given = parse(
        graph,
        s=np.array(0.05, np.float32),
        z=np.array(120, np.uint8),
        w=normal(4, 2, 3, 3, scale=30).astype(np.int8),
        ws=np.array([0.002, 0.003, 0.004, 0.005], np.float32),
        wz=np.zeros(4, np.int8),
        b=normal(4, scale=1000).astype(np.int32),
        shape=np.array([4, 9]),
        v=normal(6, 9, scale=30).astype(np.int8),
        vs=np.array(0.004, np.float32),
        wz0=Z8,
        c=normal(6, scale=1000).astype(np.int32),
        u=normal(6, 3, scale=30).astype(np.int8),
        us=np.array([0.005, 0.006, 0.007], np.float32),
        wz3=np.zeros(3, np.int8),
    )
    given.opset_import.append(make_opsetid("com.microsoft", 1))
    found = lifted_like(given, 20, x=normal(1, 2, 5, 5))
    assert [(n.op_type, n.name) for n in found.model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")] == [
        ("Conv", "conv"),
        ("Gemm", "gemm"),
        ("MatMul", "mat"),
    ]
    assert {name: kept.params.scheme.axis for name, kept in found.weights.items()} == {"w": 0, "v": None, "u": 1}


RNN = """g (float[5,1,3] x) => (float[5,1,1,4] y) { [lstm] y, h, c = LSTM<hidden_size = 4>(x, w, r, b) }"""
MLP = """g (float[N,3] x) => (float[N,3] y) { [one] a = MatMul(x, w) b = Relu(a) y = Gemm(b, v, c) }"""
CNN = """g (float[1,2,5,5] x) => (float[1,4,3,3] y) { [conv] y = Conv(x, w, b) }"""
DYNAMIC = {
    "LSTM": (RNN, {"w": (1, 16, 3), "r": (1, 16, 4), "b": (1, 32)}, (5, 1, 3)),
    "MatMul": (MLP, {"w": (3, 6), "v": (6, 3), "c": (3,)}, (4, 3)),
    "Conv": (CNN, {"w": (4, 2, 3, 3), "b": (4,)}, (1, 2, 5, 5)),
}


@pytest.mark.parametrize("op", DYNAMIC)
@pytest.mark.parametrize("per_channel", [False, True])
def test_dynamic_quantization(op: str, per_channel: bool, tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    graph, shapes, shape = DYNAMIC[op]
    weights: dict[str, Any] = {name: normal(*size, seed=i) for i, (name, size) in enumerate(shapes.items())}
    float_model = parse(graph, **weights)
    onnx.save(float_model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "quantized.onnx", per_channel=per_channel)
    given = onnx.load(tmp_path / "quantized.onnx")
    if op == "LSTM" and per_channel:
        with pytest.raises(ModelError, match="scale per gate"):
            lift(given)
        return
    found = lift(given)
    assert op in ops(found.model)
    assert not {"MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM"} & set(ops(found.model))
    x = normal(*shape, seed=9)
    assert sqnr_db(run(found.model, x=x)["y"], run(given, x=x)["y"]) > 20
    assert sqnr_db(run(float_model, x=x)["y"], run(found.model, x=x)["y"]) > 20
    assert found.weights
    assert "dynamic quantization" in found.notes[0].reason


def test_an_operator_without_a_float_form_is_named() -> None:
    given = parse(
        "g (float[N,3] x) => (float[N,3] y) { [odd] y = com.microsoft.QAttention(x) }",
    )
    given.opset_import.append(make_opsetid("com.microsoft", 1))
    with pytest.raises(ModelError, match=r"'odd' \(QAttention\) cannot be turned into float"):
        lift(given)


def test_a_float_model_comes_back_without_grids() -> None:
    found = lift(parse(CNN, w=normal(4, 2, 3, 3), b=normal(4)))
    assert (found.activations, found.weights, found.notes) == ({}, {}, ())
    assert ops(found.model) == ["Conv"]


CLIPPED = """g (float[N,4] x) => (float[N,3] y) {
    xq = QuantizeLinear(x, s, z) xc = Clip(xq, low, high) xd = DequantizeLinear(xc, s, z)
    wc = Clip(wq, wlow, whigh) wd = DequantizeLinear(wc, s, wz) [product] y = MatMul(xd, wd)
}"""


@pytest.mark.parametrize(
    ("zero", "low", "high", "bits", "left"),
    [
        (np.uint8(3), 0, 15, 4, []),
        (np.int8(0), -8, 7, 4, []),
        (np.int8(0), -15, 15, 5, []),
        (np.uint8(0), 0, 100, 8, ["Clip"]),
        (np.int8(2), -3, 60, 8, ["Clip"]),
    ],
)
def test_a_clip_of_integers_narrows_their_grid(zero: Array, low: int, high: int, bits: int, left: list[str]) -> None:
    kind = np.asarray(zero).dtype
    ends: dict[str, Any] = {"low": np.array(low, kind), "high": np.array(high, kind)}
    limits = {"wlow": np.array(-7, np.int8), "whigh": np.array(7, np.int8)}
    weight: dict[str, Any] = {"wq": np.array(12 * normal(4, 3), np.int8), **limits, "wz": np.asarray(Z8)}
    given = parse(CLIPPED, 17, s=S, z=np.asarray(zero), **ends, **weight)
    x = normal(50, 4, scale=0.02 * high)
    found = lift(given)
    assert ops(found.model) == [*left, "MatMul"]
    (tensor,) = found.activations
    params = found.activations[tensor][0].params
    assert (params.scheme.bits, params.scheme.signed) == (bits, kind == np.int8)
    kept = on_grid(x, params)
    if kind == np.int8:
        kept = np.maximum(kept, low)
    held = initializer(found.model, node(found.model, "MatMul").input[1])
    assert np.abs(held).max() == pytest.approx(7 * 0.05)
    product = dequantize(np.clip(kept, low, high), params) @ held
    np.testing.assert_allclose(run(given, x=x)["y"], product, atol=1e-5)
