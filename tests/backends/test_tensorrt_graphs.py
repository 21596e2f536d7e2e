"""What the tables of the backend rest on, each claim seen in an engine that TensorRT-RTX builds; nothing runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.backends import backend_of, tensorrt
from onnxq.backends.tensorrt_compile import compile_for_batches
from onnxq.backends.tensorrt_layers import EngineLayer, parse_lines
from onnxq.errors import EngineError
from onnxq.passes import Calibrate, CastFloat, InsertQdq, PlanIntegers, RoundWeights
from onnxq.testing import named, normal, parse, workspace

rtx = pytest.importorskip("tensorrt_rtx")
GRID: Mapping[str, Any] = {"s": np.float32(0.02), "z": np.int8(0)}
ALONG = {"ws": normal(96, scale=0.01) ** 2 + 0.01, "wz": np.zeros(96, np.int8)}
WHOLE = {"ws": np.float32(0.01), "wz": np.int8(0)}


@pytest.fixture(autouse=True)
def ahead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX, also where a GPU and the full TensorRT are at hand."""
    monkeypatch.setattr(tensorrt, "_gpu_present", lambda: False)


def precisions(model: onnx.ModelProto) -> dict[str, str]:
    return {layer.node: layer.precision for layer in tensorrt.build(named(model)).read_back().layers}


def kernels(model: onnx.ModelProto) -> list[EngineLayer]:
    compiled = compile_for_batches(rtx, "test", named(model), {}, rtx.ComputeCapability.SM89)
    return parse_lines(next(text for _, text in compiled.log.messages if text.startswith("Layers:")))


def integers(*shape: int) -> np.ndarray[Any, Any]:
    return np.clip(np.rint(normal(*shape, scale=40)), -127, 127).astype(np.int8)


def qdq(tensor: str, scale: str = "s") -> str:
    """``tensor`` quantized and dequantized, as ``tensor_f``."""
    return f"{tensor}_q = QuantizeLinear({tensor}, {scale}, z) {tensor}_f = DequantizeLinear({tensor}_q, {scale}, z) "


PROJECT = f"{qdq('x')} wf = DequantizeLinear<axis = 1>(w, ws, wz) [project] a = MatMul(x_f, wf) b = Add(a, bias) "
CUTS = {
    "Split": "q, k, v = Split<axis=-1>(b, cut) q4 = Reshape(q, h) k4 = Reshape(k, h) v4 = Reshape(v, h) "
    "qt = Transpose<perm=[0,2,1,3]>(q4) kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4) ",
    "Gather": "b5 = Reshape(b, h5) t5 = Transpose<perm=[2,0,3,1,4]>(b5) qt = Gather(t5, i0) k4 = Gather(t5, i1) "
    "kt = Transpose<perm=[0,1,3,2]>(k4) vt = Gather(t5, i2) ",
}
ATTEND = (
    "[scores] e = MatMul(qt, kt) p = Softmax(e) [mix] m = MatMul(p, vt) n = Transpose<perm=[0,2,1,3]>(m) y = Sigmoid(n)"
)
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "Split": {"cut": np.array([32, 32, 32]), "h": np.array([8, 64, 4, 8])},
    "Gather": {"h5": np.array([8, 64, 3, 4, 8]), "i0": np.array(0), "i1": np.array(1), "i2": np.array(2)},
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("grid", "precision"), [(ALONG, "fp32"), (WHOLE, "int8")], ids=["per channel", "per tensor"])
def test_a_projection_that_is_cut_survives_with_one_scale_alone(
    cut: str, grid: Mapping[str, Any], precision: str
) -> None:
    model = parse(
        f"g (float[8,64,32] x) => (float y) {{ {PROJECT} {CUTS[cut]} {ATTEND} }}",
        w=integers(32, 96),
        bias=normal(96),
        **GRID,
        **grid,
        **SHAPES[cut],
    )
    found = precisions(model)
    assert found == {"project": precision, "scores": "fp32", "mix": "fp32"}


CONV = "{0}w = DequantizeLinear<axis = 0>(w, ws, wz) [{0}] {0}_a = Conv<pads=[1,1,1,1]>({1}, {0}w) "
CONV_WEIGHTS: Mapping[str, Any] = {
    "w": integers(32, 32, 3, 3),
    "ws": ALONG["ws"][:32],
    "wz": ALONG["wz"][:32],
    "twice": np.array([1, 1, 2, 2], np.float32),
    **GRID,
}
MOVES = {
    "MaxPool": "MaxPool<kernel_shape=[2,2], strides=[2,2]>({0})",
    "Resize": 'Resize<mode = "nearest">({0}, , twice)',
}


def moved(op: str, before: bool, after: bool) -> onnx.ModelProto:
    """Conv, Relu, ``op``, Conv, with Q/DQ before or after ``op``."""
    body = qdq("x") + CONV.format("one", "x_f") + "r = Relu(one_a) " + (qdq("r") if before else "")
    body += f"[move] p = {MOVES[op].format('r_f' if before else 'r')} " + (qdq("p") if after else "")
    body += CONV.format("two", "p_f" if after else "p") + "y = Sigmoid(two_a)"
    used = {name: array for name, array in CONV_WEIGHTS.items() if name != "twice" or op == "Resize"}
    return parse(f"g (float[1,32,16,16] x) => (float y) {{ {body} }}", **used)


@pytest.mark.parametrize("op", MOVES)
def test_a_q_behind_what_moves_values_is_moved_before_it(op: str) -> None:
    behind, around = kernels(moved(op, False, True)), kernels(moved(op, True, True))
    assert [layer.kind for layer in behind] == [layer.kind for layer in around]
    assert [layer.inputs for layer in behind] == [layer.inputs for layer in around]
    mover = next(layer for layer in behind if "move" in layer.nodes)
    assert mover.inputs == (("int8",) if op == "MaxPool" else ("fp32",))  # a Resize fuses into the kernel before


def test_a_q_before_a_resize_alone_does_not_reach_the_layer_behind() -> None:
    assert precisions(moved("Resize", True, False)) == {"one": "int8", "two": "fp32"}


@pytest.mark.parametrize(("scale", "read"), [("s", ("int8", "fp32")), ("t", ("fp32", "fp32"))])
def test_one_grid_around_a_concat_lets_integers_through(scale: str, read: tuple[str, ...]) -> None:
    body = qdq("x") + CONV.format("one", "x_f") + "r = Relu(one_a) " + qdq("r", scale)
    body += CONV.format("two", "r_f") + "u = Relu(two_a) [cat] c = Concat<axis = 1>(r, u) " + qdq("c")
    body += "vf = DequantizeLinear<axis = 0>(v, ws, wz) [three] d = Conv(c_f, vf) y = Sigmoid(d)"
    weights = {name: array for name, array in CONV_WEIGHTS.items() if name != "twice"}
    if scale == "t":
        weights["t"] = np.float32(0.03)
    model = parse(f"g (float[1,32,16,16] x) => (float y) {{ {body} }}", v=integers(32, 64, 1, 1), **weights)
    assert next(layer for layer in kernels(model) if "cat" in layer.nodes).inputs == read


NETWORK = (
    "[one] a = Conv(x, w) [act] b = Relu(a) [two] c = Conv<group = 16>(b, d) [up] t = ConvTranspose(c, w) "
    "[pool] p = GlobalAveragePool(t) [flat] f = Flatten(p) [fc] g1 = MatMul(f, m) [soft] y = Softmax(g1)"
)


@pytest.mark.parametrize(("to", "read", "transposed"), [("fp16", "fp16", "fp16"), ("bf16", "bf16", "fp32")])
def test_what_stays_float_is_16_bit_and_what_was_int8_remains_so(to: Any, read: str, transposed: str) -> None:
    weights: dict[str, Any] = {"w": normal(16, 16, 1, 1), "d": normal(16, 1, 3, 3), "m": normal(16, 16)}
    model = parse(f"g (float[N,16,8,8] x) => (float[N,16] y) {{ {NETWORK} }}", **weights)
    space = workspace(model, {"x": normal(4, 16, 8, 8)}, "tensorrt")
    for step in (PlanIntegers(keep_float=("MatMul",)), Calibrate(), RoundWeights(), InsertQdq(), CastFloat(to)):
        step(space)
    found = precisions(space.model())
    assert found == {"one": "int8", "two": "int8", "up": transposed, "fc": read}


SQUARE, PIXELS = "(float[4,16] x) => (float y)", "(float[1,16,8,8] x) => (float y)"
STEPS = "(float[6,2,16] x) => (float y)"
OPERATORS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "Celu": (SQUARE, "Celu(x)", {}),
    "ConvTranspose": (PIXELS, "ConvTranspose(x, w)", {"w": normal(16, 16, 2, 2)}),
    "GRU": (STEPS, "GRU<hidden_size=8>(x, w, r)", {"w": normal(1, 24, 16), "r": normal(1, 24, 8)}),
    "GlobalLpPool": (PIXELS, "GlobalLpPool(x)", {}),
    "HardSwish": (SQUARE, "HardSwish(x)", {}),
    "LpNormalization": (SQUARE, "LpNormalization(x)", {}),
    "LpPool": (PIXELS, "LpPool<kernel_shape=[2,2]>(x)", {}),
    "MeanVarianceNormalization": (PIXELS, "MeanVarianceNormalization(x)", {}),
    "Mish": (SQUARE, "Mish(x)", {}),
    "Shrink": (SQUARE, "Shrink(x)", {}),
    # and some that it has
    "Conv": (PIXELS, "Conv(x, w)", {"w": normal(16, 16, 2, 2)}),
    "Erf": (SQUARE, "Erf(x)", {}),
    "HardSigmoid": (SQUARE, "HardSigmoid(x)", {}),
    "InstanceNormalization": (PIXELS, "InstanceNormalization(x, w, w)", {"w": normal(16)}),
    "LSTM": (STEPS, "LSTM<hidden_size=8>(x, w, r)", {"w": normal(1, 32, 16), "r": normal(1, 32, 8)}),
    "LayerNormalization": (SQUARE, "LayerNormalization(x, w)", {"w": normal(16)}),
    "ReduceMean": (SQUARE, "ReduceMean(x)", {}),
    "Softmax": (SQUARE, "Softmax(x)", {}),
}  # fmt: skip


@pytest.mark.parametrize("to", ["fp16", "bf16"])
@pytest.mark.parametrize("op", OPERATORS)
def test_the_table_of_16_bit_operators(op: str, to: str) -> None:
    io, body, weights = OPERATORS[op]
    dtype = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[to]
    model = parse(f"g {io} {{ h = Cast<to={dtype}>(x) k = {body.replace('(x', '(h')} y = Cast<to=1>(k) }}", opset=22)
    for name, array in weights.items():
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(array.astype(onnx.helper.tensor_dtype_to_np_dtype(dtype)), name)
        )
    if op in backend_of("tensorrt").floats[to]:
        with pytest.raises(EngineError):
            tensorrt.build(named(model))
    else:
        tensorrt.build(named(model))


def test_the_table_has_no_operator_that_is_not_tested_here() -> None:
    floats = backend_of("tensorrt").floats
    assert floats["fp16"] | floats["bf16"] <= OPERATORS.keys()
