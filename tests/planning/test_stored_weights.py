"""Weights that become integers although their operator computes in float."""

from typing import Any

import numpy as np
import pytest

from onnxq.backends import backend_of
from onnxq.plan import Plan
from onnxq.planning.placement import Wishes, place
from onnxq.testing import normal, parse, workspace

LSTM = """g (float[5,1,32] x) => (float[5,1,32] y) { [rnn] h, hn, cn = LSTM<hidden_size=32>(x, w, r)
    k = Squeeze(h, one) [fc] y = MatMul(k, v) }"""
WEIGHTS: dict[str, Any] = {"w": normal(1, 128, 32), "r": normal(1, 128, 32), "v": normal(32, 32), "one": np.array([1])}
PICK = "g (int64[N] i) => (float[N,8] y) { [pick] e = Gather(t, i) [fc] y = MatMul(e, w) }"


def plan(text: str, backend: str = "onnxruntime", wishes: Wishes = Wishes(), **weights: Any) -> Plan:  # noqa: B008
    return place(workspace(parse(text, **weights)).graph, backend_of(backend), wishes)


def test_a_recurrent_layer_has_a_scale_per_gate_and_unit() -> None:
    found = plan(LSTM, **WEIGHTS)
    assert {weight.tensor: weight.scheme.axis for weight in found.weights} == {"w": 1, "r": 1, "v": 1}
    assert "stored as integers" in found.floats["rnn"]


def test_tensorrt_leaves_it_alone_and_says_so() -> None:
    found = plan(LSTM, "tensorrt", **WEIGHTS)
    assert found.nodes == {"fc"} and "TensorRT" in found.floats["rnn"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_a_table_of_embeddings_has_a_scale_per_column(backend: str) -> None:
    found = plan(PICK, backend, t=normal(600, 8), w=normal(8, 8))
    assert {weight.tensor: weight.scheme.axis for weight in found.weights} == {"t": 1, "w": 1}


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (PICK, normal(40, 8)),  # too small to save anything
        (PICK, np.full((600, 8), np.nan, np.float32)),
        ("g (int64[N] i) => (float[8,N] y) { [pick] e = Gather<axis=1>(t, i) [fc] y = MatMul(w, e) }", normal(8, 600)),
        # anchors: no layer reads what was decoded with them
        ("""g (int64[N] i, float[N,8] x) => (float[N,8] y) { [fc] a = MatMul(x, w)
         [pick] e = Gather(t, i) y = Add(a, e) }""", normal(600, 8)),
    ],
    ids=["small", "not a number", "columns", "anchors"],
)  # fmt: skip
def test_other_tables_stay_float(text: str, table: Any) -> None:
    found = plan(text, "openvino", t=table, w=normal(8, 8))
    assert "t" not in {weight.tensor for weight in found.weights} and "stored" not in found.floats["pick"]


def test_what_the_user_keeps_in_float_is_not_stored_as_integers() -> None:
    found = plan(LSTM, wishes=Wishes(keep_float=("LSTM",)), **WEIGHTS)
    assert found.nodes == {"fc"} and found.floats["rnn"] == "LSTM is kept in float on request"
