"""Biases on the grid on which products are summed."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.quantize_bias import QuantizeBias
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, parse, run, workspace
from onnxq.workspace import Workspace

CONV = "g (float[8,3,6,6] x) => (float[8,M,A,B] y) { [one] a = Conv(x, w, b) [two] y = Conv(a, v, c) }"
CONV_WEIGHTS: dict[str, Any] = {"w": normal(4, 3, 3, 3), "v": normal(2, 4, 1, 1), "b": normal(4), "c": normal(2)}


def inserted(text: str, per_channel: bool = True, **weights: Any) -> Workspace:
    space = workspace(parse(text, **weights))
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(per_channel=per_channel), InsertQdq()):
        step(space)
    return space


def stored(space: Workspace) -> dict[str, Any]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in space.model().graph.initializer}


def feeds(space: Workspace) -> dict[str, Any]:
    return next(iter(space.samples.batches(8))).feeds


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_bias_becomes_int32_and_the_answers_stay(per_channel: bool) -> None:
    space = inserted(CONV, per_channel, **CONV_WEIGHTS)
    before = run(space, **feeds(space))["y"]
    assert QuantizeBias()(space)
    arrays = stored(space)
    scale = arrays["x/scale"] * arrays["w/scale"]
    assert arrays["b/quantized"].dtype == np.int32
    np.testing.assert_allclose(arrays["b/scale"], scale, rtol=1e-6)
    assert np.all(np.abs(arrays["b/quantized"] * scale - CONV_WEIGHTS["b"]) <= scale * 0.51)
    assert sqnr_db(before, run(space, **feeds(space))["y"]) > 40
    onnx.checker.check_model(space.model(), full_check=True)
    assert changes_nothing(space, QuantizeBias())


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    ("bias", "attrs", "whole"),
    [((6,), "", True), ((1, 6), "", True), ((1,), "", True), ((), "", True), ((4, 6), "", False), ((4, 1), "", False),
     ((6, 1), "", False), ((6,), "<alpha=0.5>", True), ((6,), "<beta=0.5>", True)],
)  # fmt: skip
def test_a_gemm_s_bias_is_quantized_if_it_is_one_per_channel(
    bias: tuple[int, ...], attrs: str, whole: bool, per_channel: bool
) -> None:
    rows = 6 if bias == (6, 1) else 4
    text = f"g (float[{rows},8] x) => (float[{rows},6] y) {{ [one] a = Gemm(x, u) [two] y = Gemm{attrs}(a, w, b) }}"
    space = inserted(text, per_channel, u=normal(8, 8), w=normal(8, 6), b=normal(*bias, scale=5))
    x = next(iter(space.samples.batches(rows))).feeds
    before = run(space, **x)["y"]
    assert QuantizeBias()(space) == whole
    assert len(space.ledger.of("declined")) == int(not whole)
    assert sqnr_db(before, run(space, **x)["y"]) > 40
    assert ("b/quantized" in stored(space)) == whole


def test_a_bias_that_is_computed_stays_float_with_a_reason() -> None:
    text = "g (float[8,3,6,6] x, float[2] c) => (float[8,M,A,B] y) { [one] a = Conv(x, w) [two] y = Conv(a, v, c) }"
    space = inserted(text, w=CONV_WEIGHTS["w"], v=CONV_WEIGHTS["v"])
    assert changes_nothing(space, QuantizeBias())
    assert [(entry.subject, entry.reason) for entry in space.ledger.of("declined")] == [
        ("two", "its bias is computed at run time")
    ]


def test_layers_without_a_bias_or_in_float_have_nothing_to_say() -> None:
    text = "g (float[8,3,6,6] x) => (float[8,M,A,B] y) { [one] a = Conv(x, w, ) [two] y = ConvTranspose(a, v, c) }"
    space = inserted(text, w=CONV_WEIGHTS["w"], v=normal(4, 2, 1, 1), c=normal(2))
    assert changes_nothing(space, QuantizeBias())
    assert not space.ledger.of("declined")


def test_a_bias_shared_by_two_layers_gets_a_grid_for_each() -> None:
    text = "g (float[8,3,6,6] x) => (float[8,M,A,B] y) { [one] a = Conv(x, w, b) [two] y = Conv(a, v, b) }"
    space = inserted(text, w=CONV_WEIGHTS["w"], v=normal(4, 4, 1, 1), b=normal(4))
    before = run(space, **feeds(space))["y"]
    assert QuantizeBias()(space)
    assert {"b/quantized", "b/quantized_1"} <= stored(space).keys()
    assert sqnr_db(before, run(space, **feeds(space))["y"]) > 40
