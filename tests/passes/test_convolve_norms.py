"""A product and a sum with constants between layers as one convolution."""

from typing import Any

import numpy as np
import pytest

from onnxq.options import Options
from onnxq.passes.convolve_norms import ConvolveNorms
from onnxq.pipeline import quantize
from onnxq.testing import changes_nothing, normal, ops, outcome, parse, run, scaled, workspace

BN = "BatchNormalization"
BODY = "a = Conv(x, w) b = Relu(a) c = Mul(b, k) d = Add(c, s) e = Relu(d) y = Conv(e, w)"
GIVEN: dict[str, Any] = {
    "w": normal(4, 4, 1, 1),
    "k": 1 + normal(4, 1, 1, scale=0.2),
    "s": normal(1, 4, 1, 1, seed=2),
}


def built(body: str, **other: Any) -> Any:
    return workspace(parse(f"g (float[2,4,6,6] x) => (float[2,4,6,6] y) {{ {body} }}", **{**GIVEN, **other}))


@pytest.mark.parametrize("shift", [GIVEN["s"], np.array(0.5, np.float32)])
def test_they_become_one_convolution(shift: Any) -> None:
    space, x = built(BODY, s=shift), normal(2, 4, 6, 6)
    before = run(space, x=x)["y"]
    assert ConvolveNorms()(space)
    assert ops(space) == ["Conv", "Relu", "Conv", "Relu", "Conv"]
    np.testing.assert_allclose(run(space, x=x)["y"], before, rtol=1e-5, atol=1e-5)
    assert changes_nothing(space, ConvolveNorms())


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ("a = Conv(x, w) c = Mul(a, k) d = Add(c, s) y = Relu(d)", {}),  # nothing behind
        ("c = Mul(x, k) d = Add(c, s) y = Conv(d, w)", {}),  # nothing before
        (BODY, {"k": np.array([[[1]], [[1e-3]], [[1]], [[2]]], np.float32)}),  # too unlike
        (BODY, {"k": np.array(2, np.float32)}),  # one factor for all
        (BODY, {"s": normal(4, 6, 6)}),
        (BODY.replace("e = Relu(d)", "e = Add(d, c)"), {}),
    ],
)
def test_others_stay(body: str, other: dict[str, Any]) -> None:
    assert changes_nothing(built(body, **other), ConvolveNorms())


def test_norms_behind_concats_are_integer_in_onnxruntime_alone() -> None:
    norm: dict[str, Any] = {name: abs(normal(12, seed=i)) + 1 for i, name in enumerate("gbmv")}
    text = f"""g (float[N,4,8,8] x) => (float[N,4,8,8] y) {{ a = Conv(x, w) r = Relu(a) b = Conv<pads=[1,1,1,1]>(r, v8)
        c = Concat<axis=1>(r, b) n = {BN}(c, g, b1, m, v) e = Relu(n) y = Conv(e, u) }}"""
    norm["b1"] = norm.pop("b")
    model = parse(text, w=scaled(4, 4, 1, 1), v8=scaled(8, 4, 3, 3), u=scaled(4, 12, 1, 1), **norm)
    x = {"x": normal(16, 4, 8, 8)}
    found = outcome(model, x, "onnxruntime")
    assert not found.in_float and len(found.layers) == 4
    assert found.sqnr_db["y"] > 28
    other = quantize(model, x, backend="openvino", options=Options(build=False))["openvino"]
    assert {"Mul", "Add"} <= set(ops(other.model))
