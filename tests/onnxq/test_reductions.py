"""What is reduced inside the graph tells the same as the whole tensor."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.inputs import InputSpec
from onnxq.lean import Lean
from onnxq.model import load_model
from onnxq.reductions import LEAST, makes_nan, reduce
from onnxq.samples import open_samples
from onnxq.statistics import TensorStatistics
from onnxq.testing import Array, normal, parse, run
from onnxq.watching import Values, watch

IMAGES = """g (float[N,3,40,40] x) => (float[N,8,40,40] y) {
    a = Conv<pads = [1,1,1,1]>(x, w) b = Relu(a) c = Sigmoid(b) d = Mul(a, c) y = Neg(d) }"""
ROWS = "g (float[N,65,192] x) => (float[N,65,192] y) { a = MatMul(x, m) b = Relu(a) c = Erf(a) y = Add(b, c) }"
SHUFFLE = """g (float[N,18,24,24] x) => (float[N,2,72,72] y) {
    a = Reshape(x, apart) b = Transpose<perm = [0,1,4,2,5,3]>(a) c = Neg(b) y = Reshape(c, together) }"""
NETS = {
    "six axes": (
        SHUFFLE,
        {"apart": np.array([-1, 2, 3, 3, 24, 24]), "together": np.array([-1, 2, 72, 72])},
        normal(5, 18, 24, 24, seed=5),
    ),
    "images": (IMAGES, {"w": normal(8, 3, 3, 3)}, normal(5, 3, 40, 40, seed=1)),
    "rows": (ROWS, {"m": normal(192, 192, seed=2) / 14}, normal(5, 65, 192, seed=3)),
}


def watched(model: onnx.ModelProto, x: Array, names: list[str], histogram: bool = True) -> dict[str, TensorStatistics]:
    spec = InputSpec("x", np.dtype(np.float32), (None, *x.shape[1:]))
    return watch(load_model(model), {name: Values(name, histogram) for name in names}, open_samples(x, [spec]))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize("histogram", [True, False])
def test_extremes_and_counts_are_those_of_the_tensor(name: str, opset: int, histogram: bool) -> None:
    text, constants, x = NETS[name]
    model = parse(text, opset=opset, **constants)
    names = ["a", "b", "c"]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=inner) for inner in names)
    tensors = run(shown, x=x)
    assert all(tensors[inner][0].size >= LEAST for inner in names)
    for inner, found in watched(model, x, names, histogram).items():
        whole = TensorStatistics.of(tensors[inner], histogram)
        np.testing.assert_allclose([found.low, found.high], [whole.low, whole.high], rtol=1e-5, atol=1e-6)
        assert found.each().mean == pytest.approx(whole.each().mean, rel=1e-5, abs=1e-6)
        assert (found.counts is None) == (not histogram)
        if found.counts is not None and whole.counts is not None:
            assert found.counts.sum() == pytest.approx(whole.counts.sum(), rel=1e-3)  # an extreme may be met twice
            moved = np.abs(found.counts.astype(int) - whole.counts.astype(int)).sum()
            assert moved < 0.01 * whole.counts.sum()  # last bits at the borders of buckets


NAN = """g (float[N,3,40,40] x) => (float[N,8,40,40] y) {{
    a = Conv<pads = [1,1,1,1]>(x, w) s = {} t = Identity(s) y = Relu(t) }}"""


@pytest.mark.parametrize("made", ["Sqrt(a)", "Log(a)", "Div(a, zero)", "Mul(a, odd)"])
def test_no_nan_gets_lost(made: str) -> None:
    constants = {"zero": np.zeros(1, np.float32), "odd": np.array([1, 1, np.nan, 1], np.float32).repeat(10)}
    given: dict[str, Any] = {name: array for name, array in constants.items() if name in made}
    model = parse(NAN.format(made), w=normal(8, 3, 3, 3), **given)
    assert makes_nan(Lean.of(model))
    assert not watched(model, normal(3, 3, 40, 40), ["s"], histogram=False)["s"].finite


def test_nan_of_numbers_that_grew_too_large_is_found_too() -> None:
    text = NAN.format("Conv(a, v) u = Conv(s, v)").replace("Identity(s)", "Conv(u, v)")
    v = normal(8, 8, 1, 1, seed=4) * np.float32(1e15)
    model = parse(text, w=normal(8, 3, 3, 3), v=v)
    assert not makes_nan(Lean.of(model))
    found = watched(model, normal(3, 3, 40, 40), ["a", "s", "t"], histogram=False)
    assert found["a"].finite and found["s"].finite and not found["t"].finite


def test_small_tensors_inputs_and_free_sizes_are_taken_whole() -> None:
    text = "g (float[N,3,H,W] x) => (float[N,8,P,Q] y) { y = Conv(x, w) }"
    x = normal(3, 3, 40, 40)
    found = watched(parse(text, w=normal(8, 3, 1, 1)), x, ["x", "y"])
    assert (found["x"].low, found["x"].high) == (x.min(), x.max())
    assert found["y"].counts is not None and found["y"].counts.sum() > 0


def test_names_that_are_taken_are_left_alone() -> None:
    model = parse(IMAGES, w=normal(8, 3, 3, 3))
    for node in model.graph.node:
        node.input[:] = ["reduced/a/high" if name == "b" else name for name in node.input]
        node.output[:] = ["reduced/a/high" if name == "b" else name for name in node.output]
    found = watched(model, normal(3, 3, 40, 40), ["a", "reduced/a/high"])
    assert found["a"].low < 0 <= found["reduced/a/high"].low


def test_the_extremes_of_images_leave_the_graph_together() -> None:
    text = """g (float[N,16,40,40] x) => (float[N,16,40,40] y) {
        a = Relu(x) b = Neg(a) c = Sigmoid(b) d = Slice(c, start, end, axis) y = Neg(c) }"""
    model = load_model(parse(text, start=np.array([0]), end=np.array([5]), axis=np.array([1])))
    made = reduce(model, [Values(name) for name in "abcd"])
    names = {
        field: [made[t].parts[field].output for t in "abcd" if field in made[t].parts] for field in ("high", "low")
    }
    assert len(set(names["high"])) == 2 and len(names["high"]) == 4  # apart: five channels are not kept in blocks
    assert len(set(names["low"])) == 2 and len(names["low"]) == 3
    assert [made[t].parts["high"].begin for t in "abc"] == [0, 16, 32]
