"""Weights of a network that are solved: closer on samples that chose nothing, the same for any threads; or undone."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq import held_out
from onnxq.held_out import noise
from onnxq.model import load_model
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.samples import open_samples
from onnxq.testing import Array, changes_nothing, normal, parse, workspace
from onnxq.workspace import Workspace

BODY = """[one] a = Conv<pads=[1,1,1,1]>(x, w, b) c = Relu(a) [deep] d = Conv<group=8, pads=[1,1,1,1]>(c, k) e = Relu(d)
    [two] f = Conv(e, v) g = Add(c, f) [up] h = ConvTranspose<strides=[2,2]>(g, t) p = GlobalAveragePool(h)
    q = Flatten(p) [head] y = Gemm(q, u)"""
WEIGHTS = {
    "w": normal(8, 3, 3, 3, scale=0.3),
    "b": normal(8, seed=1),
    "k": normal(8, 1, 3, 3, seed=2, scale=0.3),
    "v": normal(8, 8, 1, 1, seed=3, scale=0.3),
    "t": normal(8, 4, 2, 2, seed=4, scale=0.3),
    "u": normal(4, 6, seed=5),
}


def images(count: int, seed: int) -> Array:
    """Smooth ones, whose neighbours are alike as those of photographs are."""
    coarse = normal(count, 3, 2, 2, seed=seed).repeat(4, axis=2).repeat(4, axis=3)
    return np.asarray(1 + coarse + normal(count, 3, 8, 8, seed=seed + 1, scale=0.1), np.float32)


X, FRESH = images(256, 6), images(64, 8)


def net(body: str = BODY, **weights: Array) -> onnx.ModelProto:
    return parse(f"g (float[N,3,8,8] x) => (float[N,6] y) {{ {body} }}", 17, **{**WEIGHTS, **weights})


def rounded(model: onnx.ModelProto, backend: str = "openvino", x: Array = X, **options: Any) -> Workspace:
    space = workspace(model, {"x": x}, backend)
    space.samples = open_samples({"x": x}, space.samples.inputs)
    PlanIntegers()(space)
    Calibrate("minmax")(space)
    RoundWeights(**options)(space)
    return space


def error(space: Workspace) -> float:
    made = space.copy()
    InsertQdq()(made)
    return noise(load_model(net()), [made.model()], [{"x": FRESH}])[0]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "tensorrt", "vitis", "tflite"])
@pytest.mark.parametrize("solver", ["gptq", "coordinate_descent"])
def test_outputs_come_closer(backend: str, solver: str) -> None:
    nearest, solved = (rounded(net(), backend, bits=4, solver=one) for one in ("nearest", solver))
    assert error(solved) < 0.5 * error(nearest)
    (whole,) = [entry for entry in solved.ledger.of("changed") if entry.subject == "graph"]
    assert "weights solved rather than rounded to nearest: SQNR of the outputs" in whole.reason
    layers = [layer for layer in solved.solved.values() if layer.solver == solver]
    assert {layer.layer for layer in layers} >= {"one", "deep", "two", "head"}
    assert all((layer.relative_error or 1) < 1 and layer.seconds > 0 for layer in layers)
    assert changes_nothing(solved, RoundWeights(4, solver=solver))


def test_samples_and_bits_decide_on_the_bytes_and_batches_do_not() -> None:
    spaces = [rounded(net(), bits=4, solver="coordinate_descent") for _ in range(2)]
    spaces[1].batch = 3
    RoundWeights(4, solver="nearest")(spaces[1])
    RoundWeights(4, solver="coordinate_descent")(spaces[1])
    for weight, one in spaces[0].weights.items():
        np.testing.assert_array_equal(one.integers, spaces[1].weights[weight].integers)
        np.testing.assert_array_equal(one.params.scale, spaces[1].weights[weight].params.scale)


def test_what_does_not_help_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "noise", lambda reference, models, feeds: [1e-3, 2e-3])
    space = rounded(net(), bits=4, solver="gptq")
    (entry,) = space.ledger.of("declined")
    assert entry.reason.startswith("undone: weights are rounded to nearest, since solving them does not help")
    assert "30.0 -> 27.0 dB" in entry.reason
    nearest = rounded(net(), bits=4)
    for weight, one in nearest.weights.items():
        np.testing.assert_array_equal(one.integers, space.weights[weight].integers)


def test_a_shared_weight_is_rounded_to_nearest_and_said() -> None:
    body = BODY.replace("(e, v)", "(e, v) f2 = Relu(f) [again] f3 = Conv(f2, v)").replace("Add(c, f)", "Add(c, f3)")
    space = rounded(net(body), bits=4, solver="gptq")
    declined = {entry.subject: entry.reason for entry in space.ledger.of("declined")}
    assert "2 layers share it" in declined["v"]


def test_a_layer_that_meets_infinity_is_rounded_to_nearest_and_the_others_are_solved() -> None:
    body = BODY.replace("[head] y = Gemm(q, u)", "[head] m = Gemm(q, u) z = Log(n) s = Gemm(z, o) y = Add(m, s)")
    model = parse(
        f"g (float[N,3,8,8] x, float[N,2] n) => (float[N,6] y) {{ {body} }}", 17, **WEIGHTS, o=normal(2, 6, seed=8)
    )
    space = workspace(model, {"x": X, "n": np.full((256, 2), 1.5, np.float32)}, "openvino")
    PlanIntegers()(space)
    Calibrate("minmax")(space)
    space.samples = workspace(model, {"x": X, "n": np.zeros((256, 2), np.float32)}, "openvino").samples
    RoundWeights(4, solver="gptq")(space)
    assert any(
        "infinite or NaN" in entry.reason or "no output" in entry.reason for entry in space.ledger.of("declined")
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_samples_are_enough(count: int) -> None:
    space = rounded(net(), x=X[-count:], bits=4, solver="coordinate_descent")
    assert len(space.weights) == 5
