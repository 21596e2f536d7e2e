"""Q/DQ on one side only, seen on each engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.testing import normal, parse

See = Callable[..., Any]
W = I8.along(0)
FIRST = {
    "onnxruntime": {"x": U8, "y": U8, "w": W, "v": W},
    "openvino": {"x": I8, "w": W, "v": W},
    "tensorrt": {"x": I8, "w": W, "v": W},
}
BETWEEN = {"onnxruntime": POSITIVE, "openvino": POSITIVE, "tensorrt": I8}


def between(operators: str, **constants: Any) -> onnx.ModelProto:
    """Conv ``one`` makes ``a``, then ``operators`` make ``r`` of it, then Conv ``two`` reads ``r``."""
    text = f"g (float[N,16,8,8] x) => (float[N,16,A,B] y) {{ [one] a = Conv(x, w) {operators} [two] y = Conv(r, v) }}"
    return parse(text, 21, w=normal(16, 16, 1, 1), v=normal(16, 16, 1, 1, seed=1), **constants)


@pytest.mark.parametrize("backend", FIRST)
@pytest.mark.parametrize("missing", ["x", "w"])
def test_one_operand_alone_is_not_enough(see: See, backend: str, missing: str) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] c = Conv(x, w) [act] y = Tanh(c) }"
    grids = {name: grid for name, grid in FIRST[backend].items() if name in ("x", "w") and name != missing}
    seen = see(handmade(parse(text, 21, w=normal(16, 16, 1, 1)), grids), backend)
    assert seen.rules["half_quantized"] == "float"
    assert seen.precisions == {"one": "fp32"}


def test_onnxruntime_quantizes_the_weights_of_a_conv_between_q_dq_itself(see: See) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] y = Conv(x, w) }"
    seen = see(handmade(parse(text, 21, w=normal(16, 16, 1, 1)), x=U8, y=U8), "onnxruntime")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8"}


@pytest.mark.parametrize("backend", FIRST)
def test_q_dq_before_a_relu_alone_leaves_the_next_layer_in_float(see: See, backend: str) -> None:
    model = between("[act] r = Relu(a)")
    grid = I8 if backend == "tensorrt" else U8
    seen = see(handmade(model, {**FIRST[backend], "a": grid}), backend)
    assert seen.rules["half_quantized"] == "float"
    assert "behind Relu" in next(e.mend for e in seen.found.findings if e.rule == "half_quantized")
    assert seen.precisions == {"one": "int8", "two": "fp32"}
    right = see(handmade(model, {**FIRST[backend], "r": BETWEEN[backend]}), backend)
    assert right.rules == {} and right.precisions == {"one": "int8", "two": "int8"}


RESIZE = {"roi": np.zeros(0, np.float32), "sizes": np.array([1, 1, 2, 2], np.float32)}


@pytest.mark.parametrize(
    ("backend", "operator", "constants"),
    [
        ("onnxruntime", "AveragePool<kernel_shape = [2,2]>(b)", {}),
        ("onnxruntime", "GlobalAveragePool(b)", {}),
        ("onnxruntime", 'Resize<mode = "nearest">(b, roi, sizes)', RESIZE),
        ("onnxruntime", "Concat<axis = 2>(b, b)", {}),
        ("openvino", "GlobalAveragePool(b)", {}),
        ("openvino", "Clip(b, low)", {"low": np.array(0.5, np.float32)}),
        ("tensorrt", 'Resize<mode = "nearest">(b, roi, sizes)', RESIZE),
    ],
)
def test_what_gives_floats_again_needs_q_dq_behind(see: See, backend: str, operator: str, constants: Any) -> None:
    model = between(f"[act] b = Relu(a) [op] r = {operator}", **constants)
    seen = see(handmade(model, {**FIRST[backend], "b": BETWEEN[backend]}), backend)
    assert seen.rules["half_quantized"] == "float"
    assert seen.precisions["two"] != "int8"
    both = {"b": BETWEEN[backend]} if backend == "onnxruntime" else {}
    right = see(handmade(model, {**FIRST[backend], **both, "r": BETWEEN[backend]}), backend)
    assert right.rules == {} and right.precisions == {"one": "int8", "two": "int8"}


@pytest.mark.parametrize("backend", FIRST)
@pytest.mark.parametrize(
    "operator", ["MaxPool<kernel_shape = [2,2]>(b)", "Transpose<perm = [0,1,3,2]>(b)", "Identity(b)"]
)
def test_integers_pass_through_what_only_moves_them(see: See, backend: str, operator: str) -> None:
    model = between(f"[act] b = Relu(a) [op] r = {operator}")
    seen = see(handmade(model, {**FIRST[backend], "b": BETWEEN[backend]}), backend)
    assert seen.rules == {} and seen.precisions == {"one": "int8", "two": "int8"}


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_a_concat_of_unequal_grids_gives_floats(see: See, backend: str) -> None:
    text = """g (float[N,16,8,8] x, float[N,16,8,8] z) => (float[N,16,8,8] y) {
        [one] c = Concat<axis = 1>(x, z) [two] y = Conv(c, v) }"""
    for other, precision in ((0.05, "fp32"), (0.02, "int8")):
        dtype = "uint8" if backend == "openvino" else "int8"
        grids = {"x": Grid(dtype, scale=0.02), "z": Grid(dtype, scale=other), "v": W}
        seen = see(handmade(parse(text, 21, v=normal(16, 32, 1, 1)), grids), backend)
        assert ("half_quantized" in seen.rules) == (precision == "fp32")
        assert seen.precisions == {"two": precision}


@pytest.mark.parametrize("last", ["y = Identity(c)", "y = Tanh(c)", "y = HardSwish(c)", "y = Add(c, x)"])
def test_onnxruntime_needs_the_output_of_a_conv_quantized(see: See, last: str) -> None:
    text = f"g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ [one] c = Conv(x, w) [last] {last} }}"
    model = parse(text, 21, w=normal(16, 16, 1, 1))
    seen = see(handmade(model, x=U8, w=W), "onnxruntime")
    assert seen.rules["output_needed"] == "float"
    assert seen.precisions == {"one": "fp32"}
    right = see(handmade(model, x=U8, w=W, c=U8), "onnxruntime")
    assert "output_needed" not in right.rules and right.precisions == {"one": "int8"}


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_other_engines_take_a_float_output(see: See, backend: str) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] c = Conv(x, w) [last] y = HardSwish(c) }"
    seen = see(handmade(parse(text, 21, w=normal(16, 16, 1, 1)), x=I8, w=W), backend)
    assert seen.rules == {} and seen.precisions == {"one": "int8"}


@pytest.mark.parametrize("join", ["Add(c, r)", "Concat<axis = 1>(c, r)"])
def test_onnxruntime_joins_integers_only_where_all_are(see: See, join: str) -> None:
    channels = 16 if "Add" in join else 32
    text = f"""g (float[N,16,8,8] x) => (float[N,16,8,8] y) {{ [one] a = Conv(x, w) [act] r = Relu(a)
        [two] c = Conv(r, v) [join] s = {join} [three] y = Conv(s, u) }}"""
    model = parse(text, 21, w=normal(16, 16, 1, 1), v=normal(16, 16, 1, 1, seed=1), u=normal(16, channels, 1, 1))
    grids = {"x": U8, "r": POSITIVE, "s": U8, "y": U8, "w": W, "v": W, "u": W}
    seen = see(handmade(model, grids), "onnxruntime")
    assert seen.rules == {"both_sides": "slow", "output_needed": "float"}
    assert seen.precisions == {"one": "int8", "two": "fp32", "three": "int8"}
    right = see(handmade(model, {**grids, "c": U8}), "onnxruntime")
    assert right.rules == {} and set(right.precisions.values()) == {"int8"}


def test_onnxruntime_makes_a_float_gemm_of_matmul_and_bias(see: See) -> None:
    text = """g (float[{n},64,128] x) => (float[{n},64,64] y) {{ [one] a = MatMul(x, w) [bias] s = Add(a, b)
        [act] y = Gelu(s) }}"""
    for size, grids, precision in (
        ("4", {}, "fp32"),
        ("4", {"a": U8}, "int8"),
        ("4", {"s": U8}, "int8"),
        ("N", {}, "int8"),
    ):
        model = parse(text.format(n=size), 21, w=normal(128, 64), b=normal(64))
        seen = see(handmade(model, {"x": U8, "w": I8.along(1), **grids}), "onnxruntime", 4)
        assert seen.rules == ({"matmul_add": "float"} if precision == "fp32" else {})
        assert seen.precisions == {"one": precision}
