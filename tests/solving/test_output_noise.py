"""The noise of outputs, with other weights."""

import numpy as np
import pytest

from onnxq.held_out import noise
from onnxq.solving import output_noise
from onnxq.solving.output_noise import OutputNoise
from onnxq.testing import normal, parse, workspace

TEXT = """g (float[N,3,6,6] x) => (float[N,4,6,6] y, float[N,2,6,6] z, int64[N,1,6,6] i) {
    a = Conv(x, w) y = Relu(a) z = Conv(y, v) i = ArgMax<axis=1>(z) }"""
W, V = normal(4, 3, 1, 1), normal(2, 4, 1, 1, seed=1)
FEEDS = {"x": normal(8, 3, 6, 6, seed=2)}


@pytest.mark.parametrize("together", [1, 8])
def test_it_is_the_noise_of_the_model_with_other_weights(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_noise, "TOGETHER", together)
    space = workspace(parse(TEXT, w=W, v=V), FEEDS)
    measured = OutputNoise(space, ["w", "v"])
    for other in ({"w": W * np.float32(1.01)}, {"v": V + np.float32(0.1)}, {"w": W + np.float32(0.1), "v": V}):
        changed = parse(TEXT, w=other.get("w", W), v=other.get("v", V))
        batches = [{"x": FEEDS["x"][start : start + 4]} for start in (0, 4)]
        assert measured(other) == pytest.approx(noise(parse(TEXT, w=W, v=V), [changed], batches)[0], rel=1e-4)
    assert measured({"w": W}) < 1e-12  # kernels for constants may add up in another order


def test_float_outputs_count_alike() -> None:
    space = workspace(parse(TEXT, w=W, v=V), FEEDS)
    assert OutputNoise(space, ["w", "v"])({"v": V * np.float32(0.5)}) == pytest.approx(0.25 / 2, rel=1e-5)


def test_samples_that_find_no_room_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_noise, "HELD_BYTES", 1)
    space = workspace(parse(TEXT, w=W, v=V), FEEDS)
    changed = {"v": V + np.float32(0.1)}
    first = noise(parse(TEXT, w=W, v=V), [parse(TEXT, w=W, v=changed["v"])], [{"x": FEEDS["x"][:4]}])[0]
    assert OutputNoise(space, ["w", "v"])(changed) == pytest.approx(first, rel=1e-4)
