"""Weights that are only stored as integers become floats by a Cast and a Mul."""

from typing import Literal

import numpy as np
import pytest

from onnxq.backends import backend_of
from onnxq.backends.onnxruntime import build
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.gather_integers import GatherIntegers
from onnxq.passes.unfold_dequantize import UnfoldDequantize
from onnxq.sqnr import sqnr_db
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


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_conv_in_float_reads_what_engines_compute_when_they_load(backend: str, bits: Literal[4, 8]) -> None:
    x, w = normal(4, 16, 8, 8), normal(32, 16, 3, 3, scale=0.1)
    text = "g (float[4,16,8,8] x) => (float[4,32,8,8] y) { [one] y = Conv<pads=[1,1,1,1]>(x, w) }"
    space = workspace(parse(text, w=w), {"x": x}, backend)
    for step in (PlanIntegers(activations=False), RoundWeights(bits), InsertQdq()):
        step(space)
    before = run(space, x=x)["y"]
    assert UnfoldDequantize()(space)
    model = space.model()
    assert ops(model) == ["Cast", "Cast", "Mul", "Conv"]
    assert model.ByteSize() < w.size * bits // 8 + 1500
    np.testing.assert_allclose(run(model, x=x)["y"], before, rtol=1e-5, atol=1e-5)
    assert backend_of(backend).engine(model, {}).read_back().layers[0].precision == "fp32"
    assert changes_nothing(space, UnfoldDequantize())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_packed_table_is_gathered_as_integers(backend: str) -> None:
    feeds = {"ids": np.arange(12).reshape(3, 4)}
    text = "g (int64[3,4] ids) => (float[3,4,32] y) { [table] t = Gather(e, ids) [one] y = MatMul(t, w) }"
    space = workspace(parse(text, e=normal(200, 64), w=normal(64, 32)), feeds, backend)
    for step in (PlanIntegers(activations=False), RoundWeights(4), InsertQdq()):
        step(space)
    before = run(space, **feeds)["y"]
    for lower in space.backend.lowering:
        lower(space)
    assert ops(space)[:2] == ["Cast", "Gather"]
    np.testing.assert_allclose(run(space, **feeds)["y"], before, rtol=1e-5, atol=1e-5)
    made = space.backend.engine(space.model(), {}).run(feeds)["y"]
    assert sqnr_db(before, made) > 30
