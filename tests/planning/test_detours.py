"""Around what OpenVINO computes wrongly: which grids, on which tensors. ``backends/patterns`` asks the engine."""

from typing import Any

import pytest

from onnxq.backends import backend_of
from onnxq.plan import Plan
from onnxq.planning.placement import Wishes, place
from onnxq.scheme import Range
from onnxq.testing import normal, parse, workspace

W: dict[str, Any] = {"w": normal(4, 4, 1, 1), "v": normal(4, 8, 1, 1), "b": normal(1, 8, 1, 1), "m": normal(4, 4)}
SIGNED = Range.of(-1, 1)


def plan(body: str, backend: str = "openvino", out: str = "float[N,4,8,8] y") -> Plan:
    model = parse(f"g (float[N,4,8,8] x) => ({out}) {{ {body} }}", **W)
    return place(workspace(model).graph, backend_of(backend), Wishes())


@pytest.mark.parametrize(
    ("between", "symmetric"),
    [("", False), ("k = Add(j, b)", False), ("k = LeakyRelu(j)", False), ("k = Sigmoid(j)", True)],
)
def test_a_signed_concat_before_a_conv_gets_an_asymmetric_grid(between: str, symmetric: bool) -> None:
    body = f"[one] a = Conv(x, w) j = Concat<axis=1>(a, x) {between} [two] y = Conv({'k' if between else 'j'}, v)"
    assert plan(body).activations["k" if between else "j"].schemes.of(SIGNED).symmetric == symmetric
    assert plan(body, "tensorrt").activations["k" if between else "j"].schemes.of(SIGNED).symmetric
    assert plan(body).activations["x"].schemes.of(SIGNED).symmetric


def test_a_concat_before_a_matmul_keeps_its_grid() -> None:
    found = plan("[one] a = MatMul(x, m) j = Concat<axis=1>(a, x) [two] y = MatMul(j, m)", out="float[N,8,8,4] y")
    assert found.activations["j"].schemes.of(SIGNED).symmetric


@pytest.mark.parametrize("view", ["", "q = Reshape(p, s)"])
def test_what_a_maximum_reads_is_quantized_on_the_grid_of_what_it_makes(view: str) -> None:
    body = f"[one] a = Conv(x, w) [max] p = GlobalMaxPool(a) {view} [two] y = Conv({'q' if view else 'p'}, w)"
    body = body.replace("Reshape(p, s)", "Identity(p)")
    found = plan(body)
    result = "q" if view else "p"
    assert found.activations["a"].wanted == {("max", 0)}
    assert found.activations["a"].grid == found.activations[result].grid == "a"
    assert "max" not in found.floats
    assert "a" not in plan(body, "tensorrt").activations


def test_a_layer_behind_a_maximum_and_an_activation_stays_float() -> None:
    found = plan("[one] a = Conv(x, w) [max] p = GlobalMaxPool(a) q = LeakyRelu(p) [two] y = Conv(q, w)")
    assert found.nodes == {"one"} and "GlobalMaxPool" in found.floats["two"]
