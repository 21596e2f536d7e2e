"""Ranges of channels, their spread, and what rounding costs, against numbers by hand."""

import math

import numpy as np
import onnx
import pytest

from onnxq.inspection.weight_spread import WeightSpread, weight_spreads
from onnxq.model import load_model, to_graph
from onnxq.testing import normal, parse

CONV = "g (float[N,2,4,4] x) => (float[N,C,4,4] y) { [conv] y = Conv(x, w) }"
ONE = 10 * math.log10((127**2 + 63.5**2) / 0.5**2)  # 127 and 63.5 with a scale of 1: half a step lost of the second


def spreads(model: onnx.ModelProto) -> tuple[WeightSpread, ...]:
    return weight_spreads(to_graph(load_model(model)))


def weight(*rows: tuple[float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(rows, np.float32).reshape(-1, 2, 1, 1)


def test_ranges_and_spread() -> None:
    (found,) = spreads(parse(CONV, w=weight((1, -2), (0, 0), (0.5, 0.1), (-8, 3))))
    assert found.ranges == (2, 0, 0.5, 8)
    assert (found.layer, found.op, found.tensor, found.largest) == ("conv", "Conv", "w", 8)
    assert (found.spread, found.extreme, found.outlier, found.dead) == (8 / 2, 8 / 0.5, 3, 1)  # median of 2, 0.5 and 8


def test_signal_over_error() -> None:
    (found,) = spreads(parse(CONV, w=weight((127, 63.5), (1.25, 0.625))))
    signal, error = 1.25**2 + 0.625**2, 0.25**2 + 0.375**2  # both become 1
    other = 10 * math.log10(signal / error)
    whole = 10 * math.log10((127**2 + 63.5**2 + signal) / (0.5**2 + error))
    assert found.per_tensor.channel_db == pytest.approx((ONE + other) / 2, abs=1e-3)
    assert found.per_tensor.whole_db == pytest.approx(whole, abs=1e-3)
    assert found.per_channel.channel_db == pytest.approx(ONE, abs=1e-3)  # the same row, 127 / 1.25 times as small
    assert found.per_channel.whole_db == pytest.approx(ONE, abs=1e-3)
    assert found.loss_db == pytest.approx((ONE - other) / 2, abs=1e-3)


def test_what_loses_nothing() -> None:
    (found,) = spreads(parse(CONV, w=weight((127, 1), (-3, 127))))
    assert found.per_tensor.channel_db == found.per_channel.whole_db == math.inf
    assert found.loss_db == 0


@pytest.mark.parametrize(
    ("text", "shape", "axis"),
    [
        ("(float[N,4,5,5] x) => (float y) { [n] y = ConvTranspose<group=2>(x, w) }", (4, 3, 2, 2), 1),
        ("(float[N,6] x) => (float y) { [n] y = Gemm(x, w) }", (6, 5), 1),
        ("(float[N,6] x) => (float y) { [n] y = Gemm<transB=1>(x, w) }", (5, 6), 0),
        ("(float[N,6] x) => (float y) { [n] y = MatMul(x, w) }", (6, 5), 1),
        ("(float[6,N] x) => (float y) { [n] y = MatMul(w, x) }", (5, 6), 0),
    ],
)
def test_channels_are_those_of_the_output(text: str, shape: tuple[int, ...], axis: int) -> None:
    array = normal(*shape)
    (found,) = spreads(parse(f"g {text}", w=array))
    others = tuple(i for i in range(len(shape)) if i != axis)
    assert found.ranges == tuple(np.abs(array).max(others).astype(np.float64))


def test_the_widest_first_and_each_weight_once() -> None:
    text = "g (float[N,4] x) => (float y) { [a] p = MatMul(x, w) [b] q = MatMul(p, v) [c] y = MatMul(q, w) }"
    narrow, wide = np.ones((4, 4), np.float32), np.diag([1, 1, 1, 50]).astype(np.float32)
    assert [(entry.layer, entry.spread) for entry in spreads(parse(text, w=narrow, v=wide))] == [("b", 50), ("a", 1)]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_what_has_no_spread(value: float) -> None:
    assert spreads(parse(CONV, w=np.full((3, 2, 1, 1), value, np.float32))) == ()


def test_other_floats() -> None:
    text = "g (float16[N,2] x) => (float16 y) { [n] y = MatMul(x, w) }"
    (found,) = spreads(parse(text, w=np.array([[1, 4], [0.5, -2]], np.float16)))
    assert found.ranges == (1, 4)
