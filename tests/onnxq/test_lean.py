"""A model whose weights lie beside it computes what it did, and is the same again when they are put back."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from onnxq import outside
from onnxq.execute import Session
from onnxq.lean import Lean
from onnxq.model import export, to_graph
from onnxq.outside import SMALL, outsiders
from onnxq.testing import Array, normal, parse

W, V = normal(8, 4096, seed=1), normal(4096, 3, seed=2)
MODEL = parse("g (float[N,8] x) => (float[N,3] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, v) }", w=W, v=V)
X = normal(5, 8)


def both() -> list[Lean]:
    return [Lean.of(MODEL), Lean.export(to_graph(MODEL), MODEL)]


def test_large_weights_are_beside_the_model_and_small_ones_in_it() -> None:
    for lean in both():
        assert lean.weights.keys() == {"w"} and W.nbytes >= SMALL > V.nbytes
        np.testing.assert_array_equal(lean.weights["w"], W)
        np.testing.assert_array_equal(lean.numbers(lean.model.graph.initializer[0]), W)
        assert lean.model.ByteSize() < V.nbytes + 1000


def test_weights_that_nothing_reads_are_left_out_unless_a_caller_may_give_them() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.initializer.append(onnx.numpy_helper.from_array(W, "unread"))
    lean = Lean.of(model)
    assert lean.weights.keys() == {"w"}
    np.testing.assert_array_equal(Session(lean).run({"x": X})["y"], Session(MODEL).run({"x": X})["y"])
    model.graph.input.append(onnx.helper.make_tensor_value_info("unread", onnx.TensorProto.FLOAT, W.shape))
    lean = Lean.of(model)
    assert lean.weights.keys() == {"w", "unread"}
    np.testing.assert_array_equal(Session(lean).run({"x": X})["y"], Session(MODEL).run({"x": X})["y"])


def test_onnxruntime_computes_the_same_optimized_or_not() -> None:
    wanted = np.maximum(X @ W, 0) @ V
    for lean in both():
        for optimize in (True, False):
            found: Array = Session(lean, optimize=optimize).run({"x": X})["y"]
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
            np.testing.assert_array_equal(found, Session(MODEL, optimize=optimize).run({"x": X})["y"])


def test_weights_of_a_graph_are_not_copied_and_the_graph_keeps_them() -> None:
    graph = to_graph(MODEL)
    held = graph.tensors()["w"].values
    lean = Lean.export(graph, MODEL)
    assert np.shares_memory(lean.weights["w"], held) and graph.tensors()["w"].values is held
    assert not outsiders(export(graph, MODEL))


def test_the_whole_model_is_what_it_was() -> None:
    lean, whole = Lean.of(MODEL), Lean.of(MODEL).whole()
    assert outsiders(lean.model) and not outsiders(whole)
    onnx.checker.check_model(whole)
    for one, other in zip(whole.graph.initializer, MODEL.graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other))
    del whole.graph.initializer[:]
    rest = onnx.ModelProto()
    rest.CopyFrom(MODEL)
    del rest.graph.initializer[:]
    assert whole == rest


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.float64])
def test_whatever_numpy_holds_goes_by_reference(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "SMALL", 16)
    table: NDArray[Any] = np.arange(64).astype(dtype)
    model = parse("g (int64[N] i) => (float[N] y) { a = Gather(t, i) y = Cast<to = 1>(a) }", t=table)
    assert Lean.of(model).weights.keys() == {"t"}
    places = np.array([3, 1, 63])
    np.testing.assert_array_equal(Session(model).run({"i": places})["y"], places)
