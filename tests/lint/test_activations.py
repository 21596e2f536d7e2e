"""Grids of activations: what each engine does with the wrong ones, seen."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.testing import normal, parse

See = Callable[..., Any]
CHAIN = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
    [one] a = Conv<pads = [1,1,1,1]>(x, w, b) [act] r = Relu(a) [two] y = Conv<pads = [1,1,1,1]>(r, v, b) }"""
W = I8.along(0)
I16, I8_FIT = Grid("int16"), Grid("int8", "fit")


def chain(**grids: Grid) -> onnx.ModelProto:
    """Conv, Relu, Conv, with int8 weights per channel unless told otherwise."""
    weights = {"w": normal(16, 16, 3, 3, scale=0.1), "v": normal(16, 16, 3, 3, seed=1, scale=0.1), "b": normal(16)}
    return handmade(parse(CHAIN, 21, **weights), {"w": W, "v": W, **grids})


RIGHT = {
    "onnxruntime": {"x": U8, "r": POSITIVE, "y": U8},
    "openvino": {"x": I8, "r": POSITIVE},
    "tensorrt": {"x": I8, "r": I8},
}


@pytest.mark.parametrize("backend", RIGHT)
def test_a_right_graph_is_all_integers_and_without_findings(see: See, backend: str) -> None:
    seen = see(chain(**RIGHT[backend]), backend)
    assert seen.rules == {}
    assert set(seen.precisions.values()) == {"int8"}


@pytest.mark.parametrize("backend", RIGHT)
def test_a_scale_per_channel_of_an_activation_runs_in_float(see: See, backend: str) -> None:
    seen = see(chain(**RIGHT[backend] | {"r": I8.along(1) if backend != "onnxruntime" else POSITIVE.along(1)}), backend)
    assert seen.rules["per_channel_activation"] == "float"
    assert seen.precisions["two"] == "fp32"


def test_openvino_takes_a_scale_per_channel_in_front_of_a_depthwise_conv(see: See) -> None:
    text = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
        [one] a = Conv(x, w) [act] r = Relu(a) [two] y = Conv<group = 16, pads = [1,1,1,1]>(r, v) }"""
    model = parse(text, 21, w=normal(16, 16, 1, 1), v=normal(16, 1, 3, 3))
    seen = see(handmade(model, x=I8, r=POSITIVE.along(1), w=W, v=W), "openvino")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8", "two": "int8"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_int16_runs_in_float(see: See, backend: str) -> None:
    seen = see(chain(x=I16, r=I16, y=I16), backend)
    assert seen.rules["integer_type"] == "float"
    assert set(seen.precisions.values()) == {"fp32"}


def test_openvino_drops_the_clipping_of_16_bits(see: See) -> None:
    """As onnxruntime's quantizer writes it: the Relu is gone, since the grid begins at 0."""
    text = CHAIN.replace("Relu(a)", "Identity(a)").replace("[act] r = Identity(a) ", "").replace("(r, v", "(a, v")
    weights = {"w": normal(16, 16, 3, 3, scale=0.1), "v": normal(16, 16, 3, 3, seed=1, scale=0.1), "b": normal(16)}
    wide = Grid("uint16", "fit")
    seen = see(handmade(parse(text, 21, **weights), x=wide, a=Grid("uint16"), y=wide, w=W, v=W), "openvino")
    assert seen.rules == {"clipping_dropped": "wrong", "integer_type": "float", "outputs": "wrong"}
    assert seen.alike < 10
    assert "clipping_dropped" not in see(chain(x=wide, r=wide, y=wide), "openvino").rules


@pytest.mark.parametrize(
    ("grids", "rule"),
    [
        ({"x": U8, "r": I8}, "asymmetric"),
        ({"x": I8, "r": I8, "w": Grid("int8", "fit", 0)}, "asymmetric"),
        ({"x": I16, "r": I8}, "integer_type"),
        ({"x": I8, "r": I8, "w": POSITIVE}, "unsigned"),
        ({"x": Grid(scale=0.0), "r": I8}, "scale_not_positive"),
        ({"x": I8, "r": I8, "b": Grid("int32", scale=1e-4)}, "int32_bias"),
    ],
)
def test_what_tensorrt_refuses(see: See, grids: dict[str, Grid], rule: str) -> None:
    seen = see(chain(**grids), "tensorrt")
    assert seen.rules[rule] == "rejected"
    assert seen.refused


def test_tensorrt_refuses_one_dead_channel(see: See) -> None:
    for value, refused in ((0.0, True), (1e-6, False)):
        model = chain(x=I8, r=I8)
        for tensor in model.graph.initializer:
            if tensor.name == "w.scale":
                scale = np.array(onnx.numpy_helper.to_array(tensor))
                scale[3] = value
                tensor.CopyFrom(onnx.numpy_helper.from_array(scale, tensor.name))
        seen = see(model, "tensorrt")
        assert seen.rules == ({"scale_not_positive": "rejected"} if refused else {})
        assert seen.refused == refused


def test_tensorrt_takes_unsigned_integers_for_signed_ones(see: See) -> None:
    for grid, rule in ((POSITIVE, "unsigned"), (Grid("uint8", None), "missing_zero_point")):
        seen = see(chain(x=I8, r=grid), "tensorrt")
        assert seen.rules == {rule: "wrong"}
        assert set(seen.precisions.values()) == {"int8"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_scale_of_zero_or_less_gives_wrong_answers(see: See, backend: str) -> None:
    scale = 0.0 if backend == "onnxruntime" else -0.02
    seen = see(chain(**RIGHT[backend] | {"x": Grid(scale=scale)}), backend)
    assert seen.rules["scale_not_positive"] == "wrong"
    assert seen.alike < 10


def at_run_time(model: onnx.ModelProto, foldable: bool = False) -> onnx.ModelProto:
    """The scale of ``r`` is the largest of what stands there, or a product of constants."""
    for node in model.graph.node:
        node.input[:] = ["scale" if name == "r.scale" else name for name in node.input]
    source = "r.scale" if foldable else "r"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1 / 127, np.float32), "k"))
    first = next(i for i, node in enumerate(model.graph.node) if "scale" in node.input)
    extra = [
        onnx.helper.make_node("ReduceMax", [source], ["most"], "most", keepdims=0),
        onnx.helper.make_node("Mul", ["most", "k"], ["scale"], "scale_of"),
    ]
    for node in reversed(extra):
        model.graph.node.insert(first, node)
    return model


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_scale_computed_at_run_time_leaves_the_layer_in_float(see: See, backend: str) -> None:
    seen = see(at_run_time(chain(**RIGHT[backend])), backend)
    assert seen.rules["scale_at_run_time"] == "float"
    assert seen.precisions["two"] == "fp32"
    assert "scale_at_run_time" not in see(at_run_time(chain(**RIGHT[backend]), foldable=True), backend).rules


def test_tensorrt_is_not_built_where_it_would_crash(see: See, tmp_path: Path) -> None:
    model = at_run_time(chain(x=I8, r=I8))
    seen = see(model, "tensorrt")
    assert seen.rules["scale_at_run_time"] == "rejected"
    assert seen.refused and "would crash" in str(seen.found.problem)
    onnx.save(model, tmp_path / "model.onnx")
    code = "import onnx, sys; from onnxq.backends.tensorrt import build; build(onnx.load(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.onnx")], capture_output=True)
    assert done.returncode < 0, done.stderr  # killed by a signal


@pytest.mark.parametrize("grid", [I8, Grid("uint8", 10)], ids=["int8", "uint8 from below 0"])
def test_onnxruntime_absorbs_no_relu_that_the_grid_does_not(see: See, grid: Grid) -> None:
    seen = see(chain(x=U8, r=grid, y=U8), "onnxruntime")
    assert seen.rules == {"relu_not_absorbed": "float"}
    assert seen.precisions == {"one": "fp32", "two": "int8"}


def test_onnxruntime_absorbs_a_relu_into_a_grid_that_begins_at_zero(see: See) -> None:
    for grid in (POSITIVE, Grid("int8", -128)):
        seen = see(chain(x=U8, r=grid, y=U8), "onnxruntime")
        assert seen.rules == {}
        assert seen.precisions == {"one": "int8", "two": "int8"}


def test_onnxruntime_absorbs_a_clip_only_if_the_grid_ends_where_it_does(see: See) -> None:
    text = CHAIN.replace("Relu(a)", "Clip(a, low, high)")
    for reach, kept in ((2.0, "int8"), (4.0, "fp32")):
        model = parse(
            text,
            21,
            w=normal(16, 16, 3, 3, scale=0.1),
            v=normal(16, 16, 3, 3),
            b=normal(16),
            low=np.array(0, np.float32),
            high=np.array(2, np.float32),
        )
        seen = see(handmade(model, x=U8, r=Grid("uint8", 0, scale=reach / 255), y=U8, w=W, v=W), "onnxruntime")
        assert seen.rules == ({} if kept == "int8" else {"relu_not_absorbed": "float"})
        assert seen.precisions["one"] == kept


def test_onnxruntime_leaves_int8_with_several_readers(see: See) -> None:
    text = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] a = Conv(x, w) [two] b = Conv(a, v)
        [sum] s = Add(a, b) [three] y = Conv(s, w) }"""
    model = parse(text, 21, w=normal(16, 16, 1, 1), v=normal(16, 16, 1, 1, seed=1))
    for grid, rules in ((I8, {"signed_branch": "float"}), (U8, {})):
        seen = see(handmade(model, x=grid, a=grid, b=grid, s=grid, y=grid, w=W, v=W), "onnxruntime")
        assert seen.rules == rules
        floats = {"one", "two"} if rules else set()
        assert {name for name, precision in seen.precisions.items() if precision == "fp32"} == floats
        assert {entry.node for entry in seen.found.findings} == floats


def test_onnxruntime_turns_int8_with_one_reader_into_uint8(see: See) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] a = Conv(x, w) [two] y = Conv(a, w) }"
    seen = see(handmade(parse(text, 21, w=normal(16, 16, 1, 1)), x=I8, a=I8, y=I8, w=W), "onnxruntime")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8", "two": "int8"}


@pytest.mark.parametrize("move", ["MaxPool<kernel_shape = [2,2]>(r)", "Transpose<perm = [0,1,3,2]>(r)"])
def test_onnxruntime_refuses_int8_before_a_move_from_opset_21(see: See, move: str) -> None:
    text = (
        f"g (float[N,16,8,8] x) => (float[N,16,A,B] y) {{ [act] r = Relu(x) [move] m = {move} [one] y = Conv(m, w) }}"
    )
    for opset, refused in ((21, True), (20, False)):
        model = parse(text, opset, w=normal(16, 16, 1, 1))
        seen = see(handmade(model, r=I8, y=I8, w=W), "onnxruntime")
        assert ("int8_before_move" in seen.rules) == refused
        assert seen.refused == refused
    both = handmade(parse(text, 21, w=normal(16, 16, 1, 1)), r=I8, m=I8, y=I8, w=W)
    assert not see(both, "onnxruntime").refused and see(both, "onnxruntime").rules == {}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_float8(see: See, backend: str) -> None:
    text = "g (float[N,64] x) => (float[N,64] y) { [one] a = Gemm(x, w, b) [act] r = Relu(a) [two] y = Gemm(r, v, b) }"
    model = parse(text, 21, w=normal(64, 64), v=normal(64, 64), b=normal(64))
    small = Grid("float8e4m3fn")
    seen = see(handmade(model, x=small, r=small, w=small, v=small), backend, 32)
    if backend == "onnxruntime":
        assert seen.rules["integer_type"] == "rejected" and seen.refused
    elif backend == "openvino":
        assert seen.rules["integer_type"] == "slow" and seen.speedup < 0.7
    else:
        assert seen.rules == {} and set(seen.precisions.values()) == {"fp8"}
