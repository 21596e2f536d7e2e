"""Plans in which no activation becomes integer."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import PlanIntegers
from onnxq.plan import Plan
from onnxq.testing import normal, parse, workspace

TEXT = """g (float[1,16,8,8] x, int64[1,4] ids) => (float[1,16,8,8] c, float[1,4,32] m, float[1,4,4] p) {
    [conv] c = Conv<pads=[1,1,1,1]>(x, k) [table] t = Gather(e, ids) [dense] m = MatMul(t, w)
    [cut] u = Transpose<perm=[0,2,1]>(m) [pair] p = MatMul(m, u) [small] s = MatMul(m, v) }"""
WEIGHTS: dict[str, Any] = {
    "k": normal(32, 16, 3, 3)[:16].repeat(2, 0),
    "e": normal(200, 64),
    "w": normal(64, 64),
    "v": normal(64, 4),
}
FEEDS: dict[str, Any] = {"x": normal(2, 16, 8, 8), "ids": np.zeros((2, 4), np.int64)}


def planned(backend: str, **options: Any) -> Plan:
    text = TEXT.replace("float[1,16,8,8] c", "float[A,B,C,D] c").replace("float[1,4,32] m", "float[1,4,64] m")
    space = workspace(parse(text, 17, **WEIGHTS), FEEDS, backend)
    PlanIntegers(activations=False, **options)(space)
    return space.plan


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_weights_become_integers_and_nothing_else(backend: str) -> None:
    plan = planned(backend)
    assert not plan.activations and not plan.watched and not plan.integer
    found = {weight.tensor: weight.scheme for weight in plan.weights}
    assert found.keys() == {"k", "e", "w"}
    assert (found["k"].axis, found["e"].axis, found["w"].axis) == (0, 1, 1)
    assert found["k"].symmetric and found["w"].symmetric == (backend == "tensorrt")
    assert "on request" in plan.floats["conv"] and "on request" in plan.floats["dense"]
    assert "no constant weight" in plan.floats["pair"]
    assert "fewer than 4,096" in plan.floats["small"]


def test_what_is_to_be_left_alone_is() -> None:
    plan = planned("onnxruntime", exclude=("dense",), keep_float=("Conv",))
    assert {weight.tensor for weight in plan.weights} == {"e"}
    assert "excluded by 'dense'" in plan.floats["dense"] and "kept in float on request" in plan.floats["conv"]
