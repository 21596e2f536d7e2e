"""q, k and v that one product makes are found in every form exporters write, and nothing else is."""

from typing import Any

import numpy as np
import pytest

from onnxq.planning.attention import is_cut_projection
from onnxq.testing import normal, parse, workspace

HEADS = "q4 = Reshape(q, h) k4 = Reshape(k, h) v4 = Reshape(v, h) qt = Transpose<perm=[0,2,1,3]>(q4) "
HEADS += "kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4) qs = Mul(qt, c) "
PRODUCTS = "e = MatMul(qs, kt) f = Softmax(e) y = MatMul(f, vt)"
CUT = {
    "split": "[p] a = MatMul(x, w) b = Add(a, bias) q, k, v = Split<axis=-1>(b, s) " + HEADS,
    "slices": "[p] a = MatMul(x, w) b = Add(a, bias) q = Slice(b, i0, i1, ax) k = Slice(b, i1, i2, ax) "
    "v = Slice(b, i2, i3, ax) " + HEADS,
    "gathered": "[p] a = MatMul(x, w) b = Reshape(a, h5) d = Transpose<perm=[2,0,3,1,4]>(b) "
    "qs = Gather(d, g0) k1 = Gather(d, g1) vt = Gather(d, g2) kt = Transpose<perm=[0,1,3,2]>(k1) ",
}
CONSTANTS: dict[str, Any] = {
    "w": normal(8, 24), "bias": normal(24), "c": np.float32(0.5), "s": np.array([8, 8, 8]),
    "h": np.array([1, 16, 2, 4]), "h5": np.array([1, 16, 3, 2, 4]), "i0": np.array([0]), "i1": np.array([8]),
    "i2": np.array([16]), "i3": np.array([24]), "ax": np.array([-1]), "g0": np.array(0), "g1": np.array(1),
    "g2": np.array(2), "w1": normal(8, 8),
}  # fmt: skip


def cut(body: str) -> bool:
    used = {name: array for name, array in CONSTANTS.items() if f" {name})" in body or f" {name}," in body}
    graph = workspace(parse(f"g (float[1,16,8] x) => (float y) {{ {body} }}", **used)).graph
    return is_cut_projection(next(node for node in graph.nodes if node.name == "p"))


@pytest.mark.parametrize("form", CUT)
def test_one_projection_for_q_k_and_v(form: str) -> None:
    assert cut(CUT[form] + PRODUCTS)


def test_separate_projections_are_not_cut() -> None:
    body = "[p] q = MatMul(x, w1) k = MatMul(x, w1) v = MatMul(x, w1) " + HEADS + PRODUCTS
    assert not cut(body)


def test_a_cut_without_attention_is_none() -> None:
    assert not cut("[p] a = MatMul(x, w) q, k, v = Split<axis=-1>(a, s) t = Mul(q, k) y = Add(t, v)")
    assert not cut("[p] a = MatMul(x, w) q, k, v = Split<axis=-1>(a, s) t = Sigmoid(q) y = MatMul(t, w1)")
