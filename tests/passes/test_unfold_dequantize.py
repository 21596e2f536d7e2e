"""Weights that are only stored as integers become floats by a Cast and a Mul."""

import numpy as np
import pytest

from onnxq.backends.onnxruntime import build
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.gather_integers import GatherIntegers
from onnxq.passes.unfold_dequantize import UnfoldDequantize
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace
from onnxq.workspace import Workspace

X = normal(4, 5, 32)


def recurrent(per_channel: bool = True) -> Workspace:
    """A quantized model of an LSTM and a MatMul, before any lowering."""
    model = parse(
        """g (float[N,5,32] x) => (float[N,5,8] y) { s = Transpose<perm=[1,0,2]>(x)
        [rnn] h, hn, cn = LSTM<hidden_size=32>(s, w, r) k = Squeeze(h, one) j = Transpose<perm=[1,0,2]>(k)
        [fc] y = MatMul(j, v) }""",
        w=normal(1, 128, 32, scale=0.2), r=normal(1, 128, 32, scale=0.2, seed=1), v=normal(32, 8), one=np.array([1]),
    )  # fmt: skip
    space = workspace(model, {"x": X})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(per_channel=per_channel), InsertQdq()):
        step(space)
    return space


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_numbers_stay_and_onnxruntime_computes_them_when_it_loads(per_channel: bool) -> None:
    space = recurrent(per_channel)
    before = run(space, x=X)["y"]
    assert UnfoldDequantize()(space)
    kinds = ops(space)
    assert (kinds.count("Cast"), kinds.count("Mul")) == (4, 2)
    np.testing.assert_allclose(run(space, x=X)["y"], before, rtol=1e-6, atol=1e-6)
    assert changes_nothing(space, UnfoldDequantize())
    engine = build(space.model(), threads=1)
    left = ops(engine._optimized())  # type: ignore[attr-defined]
    assert "LSTM" in left and not {"Cast", "Mul"} & set(left)


def test_weights_of_integer_kernels_stay_behind_their_dequantizer() -> None:
    space = recurrent()
    UnfoldDequantize()(space)
    (fc,) = (node for node in space.graph.nodes if node.name == "fc")
    assert [tensor.inputs[0].op for tensor in fc.inputs] == ["DequantizeLinear"] * 2


def test_what_is_gathered_from_a_table_is_unfolded_too() -> None:
    ids = np.random.default_rng(1).integers(0, 600, (4, 3))
    text = "g (int64[N,3] i) => (float[N,3,8] y) { [pick] e = Gather(t, i) [fc] y = MatMul(e, w) }"
    space = workspace(parse(text, t=normal(600, 8), w=normal(8, 8)), {"i": ids})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq(), GatherIntegers()):
        step(space)
    before = run(space, i=ids)["y"]
    assert UnfoldDequantize()(space)
    kinds = ops(space)
    assert kinds[kinds.index("Cast") :][:2] == ["Cast", "Mul"] and kinds.count("Cast") == 1
    np.testing.assert_array_equal(run(space, i=ids)["y"], before)
