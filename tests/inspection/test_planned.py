"""What would be integer: what the pipeline plans with samples, told without any."""

import onnx
import pytest

from onnxq.errors import RecipeError
from onnxq.inspection.inspect import Inspected, inspect
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.testing import normal, parse

TEXT = """g (float[N,8,8,8] x) => (float[N,4,8,8] y) {
    [one] a = Conv<pads = [1,1,1,1]>(x, w) [norm] n = BatchNormalization(a, k, b, m, s) [act] r = Relu(n)
    [two] c = Conv(r, v) [tail] t = Sigmoid(c) [twice] y = Mul(t, t) }"""
ONE, TWO = 64 * 16 * 8 * 9, 64 * 4 * 16


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    ranges = {name: abs(normal(16, seed=i)) + 0.5 for i, name in enumerate("kbms")}
    return parse(TEXT, 17, w=normal(16, 8, 3, 3), v=normal(4, 16, 1, 1), **ranges)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt", "snpe"])
def test_it_is_what_would_be_planned(model: onnx.ModelProto, backend: str) -> None:
    (found,) = inspect(model, backend=backend).plans.values()
    result = quantize(model, "random", backend=backend, options=Options(build=False))[backend]
    assert set(found.integer) == {"one", "two"} and found.int8_macs == 1
    assert {entry.node: entry.reason for entry in found.floats} == dict(result.plan.floats)
    assert set(found.integer) <= result.plan.integer
    assert found.one_grid == (("one", "two") if backend == "snpe" else ())


def shown(model: onnx.ModelProto, *steps: object) -> Inspected:
    return inspect(model, backend="onnxruntime", recipe={"passes": list(steps)})


def test_a_recipe_of_ones_own(model: onnx.ModelProto) -> None:
    found = shown(model, "fold_batch_norm", {"plan": {"exclude": ["^two$"]}}, "calibrate").plans["onnxruntime"]
    assert found.integer == ("one",) and found.int8_macs == ONE / (ONE + TWO)
    two = found.floats[0]  # layers first
    assert (two.node, two.op, two.layer, two.macs, two.reason) == ("two", "Conv", True, TWO, "excluded by '^two$'")


def test_what_waits_for_samples_is_told(model: onnx.ModelProto) -> None:
    assert shown(model, "fold_batch_norm", "plan").waiting == ()
    assert shown(model, "equalize_channels", "absorb_high_bias", "plan").waiting == (
        "equalize_channels",
        "absorb_high_bias",
    )
    assert inspect(model, backend="tensorrt").waiting == ("equalize_channels", "balance_activations", "center_inputs")


def test_a_recipe_without_a_plan(model: onnx.ModelProto) -> None:
    with pytest.raises(RecipeError, match="no pass 'plan'"):
        shown(model, "fold_batch_norm")


def test_nothing_to_quantize() -> None:
    found = inspect(parse("g (float[N,3] x) => (float[N,3] y) { [relu] y = Relu(x) }"), backend="openvino")
    plan = found.plans["openvino"]
    assert plan.problem is not None and "nothing to quantize for OpenVINO" in plan.problem
    assert (plan.layers, plan.integer, plan.int8_macs) == (0, (), None)
