"""Biases on grids of their own."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.round_bias import RoundBias
from onnxq.scheme import Scheme, Steps
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace
from onnxq.workspace import Workspace

CONV = "g (float[N,3,6,6] x) => (float[N,4,A,B] y) { [one] a = Conv(x, w, b) [two] y = Conv(a, v, b) }"
WEIGHTS: dict[str, Any] = {"w": normal(4, 3, 3, 3), "v": normal(4, 4, 1, 1), "b": normal(4)}


def quantized() -> Workspace:
    space = workspace(parse(CONV, **WEIGHTS), backend="vitis")
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    return space


@pytest.mark.parametrize("steps", [Steps.EVEN, Steps.POWER_OF_TWO])
def test_every_bias_is_stored_in_8_bits(steps: Steps) -> None:
    space = quantized()
    x = normal(2, 3, 6, 6, seed=5)
    before, count = run(space, x=x)["y"], ops(space).count("DequantizeLinear")
    step = RoundBias(Scheme(True, True, steps=steps))
    assert step(space)
    assert ops(space).count("DequantizeLinear") == count + 2
    model = space.model()
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    stored, scale = held["b/quantized"], held["b/scale"]
    assert stored.dtype == np.int8 and "b" not in held
    assert np.abs(stored * scale - WEIGHTS["b"]).max() <= scale * 0.5001
    assert np.log2(scale) == round(float(np.log2(scale))) or steps is Steps.EVEN
    assert 35 < sqnr_db(before, run(model, x=x)["y"]) < np.inf
    assert changes_nothing(space, step)


def test_layers_that_stay_float_keep_their_bias() -> None:
    space = workspace(parse(CONV, **WEIGHTS), backend="vitis")
    for step in (PlanIntegers(exclude=("two",)), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    assert RoundBias(Scheme(True, True))(space)
    two = next(node for node in space.graph.nodes if node.name == "two")
    assert two.inputs[2].name == "b"
