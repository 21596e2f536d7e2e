"""A batch normalization is folded into integers: they stay, but for their sign, and the scales change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxq.lifting.lift import lift
from onnxq.options import Options
from onnxq.retargeting.fold_norms import fold_norms
from onnxq.retargeting.retarget import retarget
from onnxq.scheme import dequantize
from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, normal, ops, parse, run, workspace

GRAPH = """g (float[N,2,5,5] x) => (float[N,4,3,3] y) {
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) wd = DequantizeLinear(w, ws)
    [conv] c = Conv(d, wd) [norm] y = BatchNormalization(c, gamma, beta, mean, var) }"""
WEIGHTS: dict[str, Any] = {
    "w": np.clip(normal(4, 2, 3, 3, scale=60), -127, 127).astype(np.int8),
    "s": np.array(0.03, np.float32),
    "z": np.array(0, np.int8),
    "ws": np.array(0.01, np.float32),
    "gamma": np.array([1.5, -0.5, 0, 2], np.float32),
    "beta": normal(4),
    "mean": normal(4, seed=1),
    "var": normal(4, seed=2) ** 2 + 0.5,
}


def test_integers_stay_and_scales_are_multiplied() -> None:
    given = parse(GRAPH, opset=17, **WEIGHTS)
    lifted = lift(given)
    space = workspace(lifted.model, backend="openvino")
    found = fold_norms(space, lifted)
    assert ops(space) == ["Conv"]
    kept, signs = found.weights["w"], np.array([1, -1, 1, 1]).reshape(-1, 1, 1, 1)
    assert np.array_equal(kept.integers, WEIGHTS["w"] * signs)
    assert kept.params.scheme.axis == 0
    folded = next(node for node in space.graph.nodes if node.op == "Conv").inputs[1].values
    assert np.allclose(dequantize(kept.integers, kept.params), folded, rtol=1e-5)
    assert fold_norms(space, found) is found  # the second run


def test_for_another_engine_it_answers_the_same() -> None:
    given, x = parse(GRAPH, opset=17, **WEIGHTS), normal(6, 2, 5, 5)
    entry = retarget(given, "openvino", options=Options(build=False))["openvino"]
    assert entry.kept is not None
    assert (entry.kept.weights, entry.kept.of_weights) == (1, 1)
    assert sqnr_db(run(given, x=x)["y"], run(entry.model, x=x)["y"]) > 100


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"w": np.full((4, 2, 3, 3), -128, np.int8)}, "-128 has no negative"), ({"ws": normal(2) ** 2}, "other channels")],
)
def test_what_no_integers_express_is_lost(change: dict[str, Array], reason: str) -> None:
    text = GRAPH.replace("DequantizeLinear(w,", "DequantizeLinear<axis = 1>(w,") if "ws" in change else GRAPH
    lifted = lift(parse(text, opset=17, **{**WEIGHTS, **change}))
    found = fold_norms(workspace(lifted.model, backend="openvino"), lifted)
    assert dict(found.weights) == {}, reason
    assert found.lost == {"w"}


def test_a_grid_between_keeps_them_apart() -> None:
    lifted = lift(parse(GRAPH, opset=17, **WEIGHTS))
    (learned,) = lifted.activations["x"]
    between = replace(lifted, activations={"c": (learned,)})
    space = workspace(lifted.model, backend="openvino")
    assert fold_norms(space, between) is between
    assert ops(space) == ["Conv", "BatchNormalization"]
