"""Which activations are balanced, and who takes the factor."""

from typing import Any

import numpy as np
import pytest

from onnxq.balance_groups import columns, groups
from onnxq.testing import normal, parse, reads, workspace

W: dict[str, Any] = {"v": normal(4, 4), "w": normal(4, 6), "u": normal(4, 5), "s": normal(4), "t": normal(4)}


def found(body: str, outputs: str = "float[N,3,6] y", pay: bool = False) -> list[tuple[str, list[str], bool]]:
    """Of every group the activations, the layers, and whether what is before takes the factor."""
    text = f"g (float[N,3,4] x) => ({outputs}) {{ {body} }}"
    graph = workspace(parse(text, **{name: W[name] for name in W if reads(text, name)})).graph
    return [
        (reading.tensor, [layer.name for layer in reading.layers], group.region is not None)
        for group in groups(graph, pay)
        for reading in group.readings
    ]


def test_a_norm_takes_it_for_all_that_read_it() -> None:
    body = "n = LayerNormalization(x, s, t) [a] y = MatMul(n, w) [b] z = MatMul(n, u) q = Shape(n)"
    assert found(body, "float[N,3,6] y, float[N,3,5] z, int64[3] q") == [("n", ["a", "b"], True)]


def test_other_readers_leave_the_factor_to_a_mul_for_the_layers() -> None:
    body = "n = LayerNormalization(x, s, t) [a] y = MatMul(n, w) z = Add(x, n)"
    assert found(body, "float[N,3,6] y, float[N,3,4] z") == [("n", ["a"], False)]


def test_layers_take_it_unless_their_weights_pay() -> None:
    body = "[p] a = MatMul(x, v) b = Relu(a) [q] y = MatMul(b, w)"
    assert found(body) == [("b", ["q"], True), ("x", ["p"], False)]
    assert found(body, pay=True) == [("x", ["p"], False), ("b", ["q"], False)]


def test_behind_what_does_not_commute_and_inputs_it_is_a_mul() -> None:
    assert found("[p] a = MatMul(x, v) b = Tanh(a) [q] y = MatMul(b, w)") == [("x", ["p"], False), ("b", ["q"], False)]


@pytest.mark.parametrize("body", ["a = Neg(w) y = MatMul(x, a)", "a = Transpose<perm=[0,2,1]>(x) y = MatMul(a, x)"])
def test_layers_without_a_constant_weight_are_none(body: str) -> None:
    assert found(body) == []


def test_the_weights_that_each_channel_meets() -> None:
    weights: dict[str, Any] = {"conv": normal(6, 2, 3, 3), "up": normal(4, 3, 2, 2), "gemm": normal(6, 4)}
    text = """g (float[N,4,8,8] x, float[N,4] z) => (float a, float b, float c) {
        [conv] a = Conv<group=2>(x, conv) [up] b = ConvTranspose(x, up) [gemm] c = Gemm<transB=1>(z, gemm) }"""
    nodes = {node.name: node for node in workspace(parse(text, **weights)).graph.nodes}
    np.testing.assert_array_equal(columns(nodes["conv"])[3], weights["conv"][3:, 1].reshape(-1))
    np.testing.assert_array_equal(columns(nodes["up"])[1], weights["up"][1].reshape(-1))
    np.testing.assert_array_equal(columns(nodes["gemm"])[2], weights["gemm"][:, 2])
