"""Graphs that OpenVINO compiles and computes wrongly, seen; and their neighbours, which it computes right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, U8, Grid, handmade
from onnxq.testing import normal, parse

See = Callable[..., Any]
RIGHT = 29.0  # dB against the simulation
ASYMMETRIC = Grid("uint8", "fit")


@pytest.mark.parametrize(
    ("grids", "wrong"),
    [({"s": I8}, True), ({"x": I8}, True), ({"x": I8, "s": U8}, False), ({"x": U8, "s": U8}, False), ({}, False)],
)
def test_a_concat_of_int8(see: See, grids: dict[str, Grid], wrong: bool) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,8,8,8] y) { [cat] s = Concat<axis = 1>(x, x) [one] y = Conv(s, w) }"
    weight = {"w": I8.along(0)} if grids else {}
    seen = see(handmade(parse(text, 21, w=normal(8, 32, 1, 1)), {**grids, **weight}), "openvino")
    assert (seen.rules.get("signed_concat") == "wrong") == wrong
    assert ("outputs" in seen.rules) == wrong
    assert seen.alike < 15 if wrong else seen.alike > RIGHT


def test_a_concat_of_int8_that_no_layer_reads_as_integers(see: See) -> None:
    text = "g (float[N,16,8,8] x) => (float[N,32,8,8] y) { [cat] s = Concat<axis = 1>(x, x) [act] y = Sigmoid(s) }"
    seen = see(handmade(parse(text, 21), x=I8), "openvino")
    assert seen.rules == {} and seen.alike > RIGHT


@pytest.mark.parametrize("maximum", ["GlobalMaxPool(a)", "ReduceMax<keepdims = 1>(a, axes)"])
def test_a_maximum_before_a_quantizer(see: See, maximum: str) -> None:
    axes = {"axes": np.array([2, 3])} if "axes" in maximum else {}
    text = f"""g (float[N,16,8,8] x) => (float[N,8,A,B] y) {{ [one] a = Conv(x, w) [max] m = {maximum}
        [two] y = Conv(m, v) }}"""
    model = parse(text, 21, w=normal(16, 16, 1, 1, scale=0.2), v=normal(8, 16, 1, 1), **axes)
    grids = {"x": I8, "m": U8, "w": I8.along(0), "v": I8.along(0)}
    seen = see(handmade(model, grids), "openvino")
    assert seen.rules == {"maximum_before_quantizer": "wrong", "outputs": "wrong"}
    assert seen.alike < 20
    right = see(handmade(model, {**grids, "a": U8}), "openvino")
    assert right.rules == {} and right.alike > RIGHT


def tokens(**grids: Grid) -> onnx.ModelProto:
    """A transformer's head: normalised tokens, their mean, and a layer."""
    text = """g (float[N,64,64] x) => (float[N,10] y) { [one] h = MatMul(x, w) [norm] l = LayerNormalization(h, g, b)
        [mean] r = ReduceMean<keepdims = 0>(l, axes) [two] y = Gemm(r, v, c) }"""
    weights = {"w": normal(64, 64, scale=0.1), "v": normal(64, 10, scale=0.2), "c": normal(10), "axes": np.array([1])}
    norm = {"g": 1 + normal(64), "b": normal(64)}
    return handmade(parse(text, 21, **weights, **norm), {"x": I8, "w": I8.along(1), "v": I8.along(1), **grids})


@pytest.mark.parametrize(
    ("grids", "batch"),
    [({"l": ASYMMETRIC, "r": ASYMMETRIC}, 64), ({"l": I8}, 8)],
    ids=["uint8, both sides", "int8 before"],
)
def test_a_mean_over_tokens(see: See, grids: dict[str, Grid], batch: int) -> None:
    seen = see(tokens(**grids), "openvino", 1, batch)
    assert seen.rules["mean_over_tokens"] == "wrong"
    one, many = seen.found.parities
    assert not one.findings and one.outputs[0].engine_graph > RIGHT
    assert many.findings and many.outputs[0].engine_graph < 10
    assert 1 <= many.right < batch  # the first sample of the batch is right


@pytest.mark.parametrize("grids", [{"r": ASYMMETRIC}, {"r": I8}, {"l": I8, "r": I8}, {"l": ASYMMETRIC}])
def test_a_mean_over_tokens_that_is_right(see: See, grids: dict[str, Grid]) -> None:
    seen = see(tokens(**grids), "openvino", 64)
    assert "mean_over_tokens" not in seen.rules and "outputs" not in seen.rules
    assert seen.alike > RIGHT


def test_a_mean_over_pixels_is_right(see: See) -> None:
    text = """g (float[N,16,8,8] x) => (float[N,10] y) { [one] h = Conv(x, w) [act] l = Relu(h)
        [mean] r = ReduceMean<keepdims = 0>(l, axes) [two] y = Gemm(r, v, c) }"""
    weights = {"w": normal(32, 16, 1, 1), "v": normal(32, 10), "c": normal(10), "axes": np.array([2, 3])}
    grids = {"x": I8, "w": I8.along(0), "v": I8.along(1), "l": Grid("uint8"), "r": Grid("uint8")}
    seen = see(handmade(parse(text, 21, **weights), grids), "openvino", 64)
    assert seen.rules == {} and seen.alike > RIGHT


def mlp(bias: bool, width: int = 128, **grids: Grid) -> onnx.ModelProto:
    first, last = ("w, b", "v, c") if bias else ("w", "v")
    text = f"""g (float[N,64] x) => (float[N,32] y) {{ [one] a = Gemm(x, {first}) [act] r = Relu(a)
        [two] y = Gemm(r, {last}) }}"""
    biases = {"b": normal(width), "c": normal(32)} if bias else {}
    model = parse(text, 21, w=normal(64, width, scale=0.1), v=normal(width, 32, scale=0.1), **biases)
    return handmade(model, {"x": I8, "r": I8, "w": I8.along(1), "v": I8.along(1), **grids})


def test_two_small_layers_without_bias_at_8_rows(see: See) -> None:
    seen = see(mlp(bias=False), "openvino", 1, 8, 16)
    assert seen.rules == {"thin_mlp": "wrong", "outputs": "wrong"}
    assert [bool(entry.findings) for entry in seen.found.parities] == [False, True, False]
    for right in (mlp(bias=True), mlp(bias=False, width=512)):
        assert see(right, "openvino", 8).rules == {}
