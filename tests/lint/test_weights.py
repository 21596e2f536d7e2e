"""Grids of weights: what each engine does with the wrong ones, seen."""

from collections.abc import Callable
from typing import Any

import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.testing import normal, parse

See = Callable[..., Any]
CONV = """g (float[N,{c},{s},{s}] x) => (float[N,{c},{s},{s}] y) {{
    [one] a = Conv<pads = [1,1,1,1]>(x, w) [act] r = Relu(a) [two] y = Conv<pads = [1,1,1,1]>(r, v) }}"""
DENSE = """g (float[N,128] x) => (float[N,64] y) { [one] a = MatMul(x, w) [act] r = Gelu(a)
    [two] y = Gemm<transB = 1>(r, v, b) }"""
W = I8.along(0)


def conv(**grids: Grid) -> onnx.ModelProto:
    return sized(16, 8, **grids)


def sized(c: int, s: int, /, **grids: Grid) -> onnx.ModelProto:
    weights = {"w": normal(c, c, 3, 3, scale=0.1), "v": normal(c, c, 3, 3, seed=1, scale=0.1)}
    return handmade(parse(CONV.format(c=c, s=s), 21, **weights), grids)


def dense(**grids: Grid) -> onnx.ModelProto:
    weights = {"w": normal(128, 96, scale=0.1), "v": normal(64, 96, seed=1, scale=0.1), "b": normal(64)}
    return handmade(parse(DENSE, 21, **weights), grids)


ACTIVATIONS = {
    "onnxruntime": {"x": U8, "r": POSITIVE, "y": U8},
    "openvino": {"x": I8, "r": POSITIVE},
    "tensorrt": {"x": I8, "r": I8},
}
ROWS = {name: {**grids, "r": U8 if name == "onnxruntime" else I8} for name, grids in ACTIVATIONS.items()}


@pytest.mark.parametrize(
    "grid", [U8, U8.along(0), Grid("int8", "fit", 0)], ids=["u8", "u8 per channel", "i8 asymmetric"]
)
def test_openvino_runs_asymmetric_weights_in_float(see: See, grid: Grid) -> None:
    seen = see(conv(**ACTIVATIONS["openvino"], w=W, v=grid), "openvino")
    assert seen.rules == {"weight_grid": "float"}
    assert seen.precisions == {"one": "int8", "two": "fp32"}


def test_onnxruntime_multiplies_uint8_by_uint8_slowly(see: See) -> None:
    right, wrong = (
        see(sized(32, 28, **ACTIVATIONS["onnxruntime"], w=w, v=w), "onnxruntime", 4, seconds=0.3)
        for w in (W, U8.along(0))
    )
    assert right.rules == {}
    assert wrong.rules == {"weight_grid": "slow"}
    assert right.precisions == wrong.precisions == {"one": "int8", "two": "int8"}
    assert wrong.speedup < 0.7 * right.speedup


def test_onnxruntime_takes_asymmetric_int8_weights(see: See) -> None:
    seen = see(conv(**ACTIVATIONS["onnxruntime"], w=W, v=Grid("int8", "fit", 0)), "onnxruntime")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8", "two": "int8"}


@pytest.mark.parametrize("backend", ["openvino", "tensorrt"])
def test_scales_along_the_input_channels_of_a_conv_run_in_float(see: See, backend: str) -> None:
    seen = see(conv(**ACTIVATIONS[backend], w=W, v=I8.along(1)), backend)
    assert seen.rules == {"weight_axis": "float"}
    assert seen.precisions == {"one": "int8", "two": "fp32"}


def test_onnxruntime_takes_scales_of_input_channels_for_those_of_outputs(see: See) -> None:
    seen = see(conv(**ACTIVATIONS["onnxruntime"], w=W, v=I8.along(1)), "onnxruntime")
    assert seen.rules == {"weight_axis": "wrong", "outputs": "wrong"}
    assert seen.precisions == {"one": "int8", "two": "int8"}
    assert seen.alike < 20


@pytest.mark.parametrize("backend", ACTIVATIONS)
@pytest.mark.parametrize("layer", ["one", "two"])
def test_scales_along_the_inner_axis_of_a_product_run_in_float_or_fail(see: See, backend: str, layer: str) -> None:
    wrong = {"w": I8.along(0), "v": W} if layer == "one" else {"w": I8.along(1), "v": I8.along(1)}
    seen = see(dense(**ROWS[backend], **wrong), backend, 32)
    fails = backend == "onnxruntime" and layer == "one"
    assert seen.rules["weight_axis"] == ("rejected" if fails else "float")
    assert seen.refused == fails
    assert seen.precisions[layer] in ({"int8"} if fails else {"fp32", "int8 weights"})
    right = see(dense(**ROWS[backend], w=I8.along(1), v=W), backend, 32)
    assert right.rules == {}
    assert set(right.precisions.values()) == {"int8"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_8_bits_in_blocks_are_float(see: See, backend: str) -> None:
    seen = see(dense(w=Grid("int8", 0, 0, block=32)), backend, 32)
    assert seen.rules["int8_blocks"] == "float"
    assert seen.precisions["one"] in ("fp32", "int8 weights")


def test_8_bits_in_blocks_with_integer_activations(see: See) -> None:
    blocks = {"w": Grid("int8", 0, 0, block=32), "v": W}
    fails = see(dense(**ROWS["onnxruntime"], **blocks), "onnxruntime", 32)
    assert fails.rules["int8_blocks"] == "rejected" and fails.refused
    unpacked = see(dense(**ROWS["openvino"], **blocks), "openvino", 32)
    assert unpacked.rules["int8_blocks"] == "float" and unpacked.precisions["one"] == "int8 weights"


def test_tensorrt_multiplies_8_bits_in_blocks_by_integers(see: See) -> None:
    seen = see(dense(x=I8, r=I8, w=Grid("int8", 0, 0, block=32), v=W), "tensorrt", 32)
    assert seen.rules == {}
    assert seen.precisions["one"] == "int8"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_4_bits_are_no_integer_arithmetic(see: See, backend: str) -> None:
    seen = see(dense(w=Grid("int4", 0, 1)), backend, 32)
    assert seen.rules["int4_weights"] == "float"
    assert seen.precisions["one"] in ("fp32", "int4 weights")


def test_tensorrt_takes_4_bits_in_blocks_and_in_no_conv(see: See) -> None:
    seen = see(dense(w=Grid("int4", 0, 0, block=32)), "tensorrt", 32)
    assert "int4_weights" not in seen.rules
    assert seen.precisions["one"] == "int4 weights"
    refused = see(conv(x=I8, r=I8, w=W, v=Grid("int4", 0, 0)), "tensorrt")
    assert refused.rules["int4_weights"] == "rejected" and refused.refused
    unsigned = see(dense(w=Grid("uint4", 8, 0, block=32)), "tensorrt", 32)
    assert unsigned.rules["integer_type"] == "rejected" and unsigned.refused


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_weights_behind_a_quantizer_are_as_good_as_stored_ones(see: See, backend: str) -> None:
    floats = Grid("int8", 0, 0, stored=False)
    seen = see(conv(**ACTIVATIONS[backend], w=floats, v=floats), backend)
    assert seen.rules == {}
    assert set(seen.precisions.values()) == {"int8"}
