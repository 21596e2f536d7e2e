"""Weights to nearest integers."""

from typing import Any, Literal

import numpy as np
import pytest

from onnxq.passes import Calibrate, PlanIntegers, RoundWeights
from onnxq.scheme import dequantize
from onnxq.solving.starts import BIAS_LIMIT
from onnxq.testing import changes_nothing, normal, parse, workspace
from onnxq.workspace import Workspace

CONV = "g (float[N,3,6,6] x) => (float[N,M,A,B] y) { [one] a = Conv(x, w, b) [two] y = Conv(a, v) }"
W, V = normal(4, 3, 3, 3), normal(2, 4, 1, 1)


def calibrated(text: str = CONV, backend: str = "onnxruntime", **weights: Any) -> Workspace:
    arrays: dict[str, Any] = weights or {"w": W, "v": V, "b": normal(4)}
    space = workspace(parse(text, **arrays), backend=backend)
    PlanIntegers()(space)
    Calibrate("minmax")(space)
    return space


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_weight_is_within_half_a_step(bits: Literal[2, 4, 8], per_channel: bool) -> None:
    space = calibrated()
    assert RoundWeights(bits, per_channel)(space)
    assert len(space.weights) == 2
    for weight, rounded in space.weights.items():
        values = {"w": W, "v": V}[weight.tensor]
        axes = (1, 2, 3) if per_channel else None
        reach = np.abs(values).max(axes) / (2 ** (bits - 1) - 1)
        width = (np.maximum(values.max(axes), 0) - np.minimum(values.min(axes), 0)) / (2**bits - 1)
        np.testing.assert_allclose(rounded.params.scale, reach if bits == 8 else width, rtol=1e-6)
        error = np.abs(dequantize(rounded.integers, rounded.params) - values)
        scale = rounded.params.scale.reshape(-1, 1, 1, 1) if per_channel else rounded.params.scale
        assert np.all(error <= scale * (0.5001 if bits == 8 else 1.0001))  # a zero point is rounded, too
        assert np.all(error.mean() <= 0.3 * scale.max())
        assert rounded.integers.dtype == np.int8 and rounded.params.scheme.shifted == (bits < 8)
        most = 2 ** (bits - 1)
        assert rounded.integers.min() >= -most and max(rounded.integers.max(), -rounded.integers.min()) >= most - 1
    assert not space.ledger.entries
    assert changes_nothing(space, RoundWeights(bits, per_channel))
    assert RoundWeights(3, per_channel)(space)


def test_a_dead_channel_has_a_positive_scale_like_its_neighbours() -> None:
    dead = W.copy()
    dead[1] = 0
    space = calibrated(w=dead, v=0 * V, b=np.array([0, 100, 0, 0], np.float32))
    RoundWeights()(space)
    scales = {weight.tensor: rounded.params.scale for weight, rounded in space.weights.items()}
    assert scales["w"][1] == scales["w"].max() and np.all(scales["w"] > 0)
    assert np.all(scales["v"] > 0)
    assert not space.ledger.of("clipped")


def test_scales_are_wide_enough_for_the_bias() -> None:
    space = calibrated(w=W * np.float32(1e-9), v=V, b=np.array([0, 500, 0, 0], np.float32))
    RoundWeights()(space)
    scale = next(rounded.params.scale for weight, rounded in space.weights.items() if weight.tensor == "w")
    activation = float(space.activations["x"].scale)
    assert 500 / (float(scale[1]) * activation) == pytest.approx(BIAS_LIMIT, rel=1e-5)
    assert scale[0] == pytest.approx(np.abs(W[0]).max() * 1e-9 / 127, rel=1e-5)
    assert [(entry.subject, entry.kind) for entry in space.ledger.entries] == [("w", "clipped")]
    RoundWeights(per_channel=False)(space)
    scale = next(rounded.params.scale for weight, rounded in space.weights.items() if weight.tensor == "w")
    assert 500 / (float(scale) * activation) == pytest.approx(BIAS_LIMIT, rel=1e-5)


@pytest.mark.parametrize("bias", [(6,), (1, 6), (4, 6), (4, 1), (1,), ()])
def test_any_bias_of_a_gemm_will_do(bias: tuple[int, ...]) -> None:
    text = "g (float[4,8] x) => (float[4,6] y) { [one] a = Gemm(x, w, b) [two] y = Gemm<transB=1>(a, v) }"
    tiny = normal(8, 6, scale=1e-9)
    space = calibrated(text, w=tiny, v=normal(6, 6), b=(normal(*bias) + 1000).astype(np.float32))
    RoundWeights()(space)
    scale = next(rounded.params.scale for weight, rounded in space.weights.items() if weight.tensor == "w")
    assert scale.shape == (6,)
    assert np.abs(normal(*bias) + 1e3).max() / (scale.min() * float(space.activations["x"].scale)) < 2**31


def test_groups_of_a_transposed_convolution_share_scales_and_the_largest_bias() -> None:
    text = """g (float[N,4,4,4] x) => (float[N,6,A,B] y) {
        [one] a = ConvTranspose<group=2>(x, w, b) [two] y = Conv(a, v) }"""
    space = calibrated(text, "openvino", w=normal(4, 3, 2, 2) * np.float32(1e-9), v=normal(6, 6, 1, 1),
                       b=np.array([0, 0, 0, 0, 900, 0], np.float32))  # fmt: skip
    RoundWeights()(space)
    scale = next(rounded.params.scale for weight, rounded in space.weights.items() if weight.tensor == "w")
    assert scale.shape == (3,) and scale[1] > 10 * max(scale[0], scale[2])


@pytest.mark.parametrize("solver", ["nearest", "gptq", "adaround"])
@pytest.mark.parametrize("wanted", [{"default": 4, "two": 6}, {"budget": 5.0, "two": 6}])
def test_bits_by_layer(wanted: dict[str, object], solver: str) -> None:
    space = calibrated()
    step = RoundWeights(wanted, solver=solver)
    assert step(space)
    bits = {weight.tensor: rounded.params.scheme.bits for weight, rounded in space.weights.items()}
    assert bits == {"w": 4 if "default" in wanted else 5, "v": 6}
    solved = {weight.tensor: entry for weight, entry in space.solved.items()}
    assert {name: entry.bits for name, entry in solved.items()} == bits and solved["v"].layer == "two"
    assert solved["v"].why == "fixed by 'two'" and solved["w"].why.startswith("chosen by") == ("budget" in wanted)
    assert changes_nothing(space, step)
