"""Layers too small for integers stay in float, but a model's first and last ones do not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxq.backends import backend_of
from onnxq.planning.eligibility import undersized
from onnxq.planning.tails import after_a_layer, before_a_layer
from onnxq.testing import normal, parse, workspace

TENSORRT = backend_of("tensorrt")


def small(body: str, inputs: str = "float[1,16,8,8] x", **weights: Any) -> dict[str, str]:
    graph = workspace(parse(f"g ({inputs}) => (float y) {{ {body} }}", **weights)).graph
    return undersized(graph, TENSORRT)


AROUND = "[first] a = Conv(x, v) [mid] b = {} [last] y = Conv(b, u)"


@pytest.mark.parametrize(
    ("layer", "weight", "out", "reason"),
    [
        ("Conv(a, w)", normal(8, 16, 1, 1), 8, None),
        ("Conv(a, w)", normal(7, 16, 1, 1), 7, "Conv of 7 channels: integers gain nothing on TensorRT below 8"),
        ("Conv<group=16>(a, w)", normal(16, 1, 1, 1), 16, None),  # depthwise: its channels are all of them
        ("Conv<group=2>(a, w)", normal(4, 8, 1, 1), 4, "Conv of 4 channels: "),
        ("ConvTranspose(a, w)", normal(16, 4, 1, 1), 4, "ConvTranspose of 4 channels: "),
        ("ConvTranspose<group=4>(a, w)", normal(16, 4, 1, 1), 16, None),
    ],
)
def test_a_convolution_of_few_channels(layer: str, weight: Any, out: int, reason: str | None) -> None:
    found = small(AROUND.format(layer), v=normal(16, 16, 1, 1), w=weight, u=normal(4, out, 1, 1))
    assert found.keys() == (set() if reason is None else {"mid"})
    assert reason is None or found["mid"].startswith(reason)


def test_few_columns_or_rows() -> None:
    body = "[first] a = MatMul(x, v) [mid] b = MatMul(a, w) [last] y = MatMul(b, u)"
    io = "float[64,32] x"
    assert small(body, io, v=normal(32, 32), w=normal(32, 16), u=normal(16, 3)) == {}
    assert small(body, io, v=normal(32, 32), w=normal(32, 15), u=normal(15, 3)).keys() == {"mid"}
    assert small(body, io, v=normal(32, 15), w=normal(15, 32), u=normal(32, 3)).keys() == {"mid"}


@pytest.mark.parametrize(
    ("rows", "width", "refused"), [("1", 128, True), ("1", 256, False), ("2", 128, False), ("N", 128, False)]
)
def test_a_vector_times_a_small_matrix(rows: str, width: int, refused: bool) -> None:
    body = "[first] a = MatMul(x, v) [mid] b = MatMul(a, w) [last] y = MatMul(b, v)"
    found = small(body, f"float[{rows},{width}] x", v=normal(width, width), w=normal(width, width))
    assert found.keys() == ({"mid"} if refused else set())
    assert not refused or ("Mat" in found["mid"] and "one row and 16,384 weights" in found["mid"])


def test_the_convolutions_of_squeeze_and_excite_are_vectors_too() -> None:
    body = "[first] a = Conv(x, v) p = GlobalAveragePool(a) [squeeze] s = Conv(p, v) [excite] e = Conv(s, v) "
    found = small(body + "m = Mul(a, e) [last] y = Conv(m, v)", v=normal(16, 16, 1, 1))
    assert found.keys() == {"squeeze", "excite"}


def test_nothing_is_too_small_without_a_table() -> None:
    graph = workspace(
        parse(f"g (float[1,16,8,8] x) => (float y) {{ {AROUND.format('Conv(a, w)')} }}",
              v=normal(16, 16, 1, 1), w=normal(1, 16, 1, 1), u=normal(4, 1, 1, 1))
    ).graph  # fmt: skip
    assert undersized(graph, backend_of("openvino")) == {}
    assert undersized(graph, replace(TENSORRT, least=backend_of("openvino").least)) == {}


def test_what_stands_before_and_behind() -> None:
    graph = workspace(
        parse(
            "g (float[1,4,8,8] x) => (float y) { [in] a = Relu(x) [one] b = Conv(a, w) [mid] c = Relu(b) "
            "[two] d = Conv(c, w) [tail] y = Mul(d, k) }",
            w=normal(4, 4, 1, 1),
            k=np.array(2, np.float32),
        )
    ).graph
    assert after_a_layer(graph) == {"mid", "two", "tail"}
    assert before_a_layer(graph) == {"in", "one", "mid"}
