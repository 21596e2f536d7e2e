"""Weights of Gemm, turned."""

import numpy as np
import pytest

from onnxq.passes import InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.turn_gemm import TurnGemm
from onnxq.testing import changes_nothing, normal, parse, run, workspace
from onnxq.workspace import Workspace

W, B, X = normal(128, 96), normal(128), normal(32, 96)


def stored(text: str, **options: int) -> Workspace:
    space = workspace(parse(f"g (float[32,96] x) => (float[32,128] y) {{ {text} }}", 21, w=W, b=B), {"x": X})
    for step in (PlanIntegers(activations=False), RoundWeights(**options), InsertQdq()):  # type: ignore[arg-type]
        step(space)
    return space


@pytest.mark.parametrize("options", [{"bits": 4, "block_size": 32}, {"bits": 4}, {"bits": 8}, {"per_channel": False}])
def test_the_numbers_stay(options: dict[str, int]) -> None:
    space = stored("y = Gemm<transB=1>(x, w, b)", **options)
    before = run(space, x=X)["y"]
    assert TurnGemm()(space)
    gemm = space.graph.nodes[-1]
    assert gemm.attrs["transB"] == 0 and gemm.inputs[1].shape == (96, 128)
    np.testing.assert_allclose(run(space, x=X)["y"], before, rtol=1e-5, atol=1e-4)
    assert changes_nothing(space, TurnGemm())


def test_weights_that_others_read_too_are_left() -> None:
    space = stored("a = Gemm<transB=1>(x, w, b) c = Gemm<transB=1>(x, w) y = Add(a, c)", bits=4)
    assert changes_nothing(space, TurnGemm())
