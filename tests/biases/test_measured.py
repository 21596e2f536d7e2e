"""Each layer is corrected behind layers that are corrected already, in the memory there is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq import walk
from onnxq.biases import measured as module
from onnxq.biases.measured import CORRECTED, INFINITE, UNSURE, measured
from onnxq.biases.where import Finding, biased
from onnxq.model import load_model, to_graph
from onnxq.testing import Array, normal, parse
from onnxq.workspace import silent

TEXT = """g (float[N,4] x) => (float[N,4] y)
    { [one] a = Gemm(x, w1, b1) r = Relu(a) [two] c = Gemm(r, w2, b2) s = Add(c, r) [three] y = Gemm(s, w3) }"""
WEIGHTS: dict[str, Any] = {f"w{i}": normal(4, 4, seed=i) for i in (1, 2, 3)} | {f"b{i}": normal(4) for i in (1, 2)}
FEEDS = [{"x": normal(16, 4, seed=seed)} for seed in range(8)]


def net(text: str = TEXT, **changed: Any) -> onnx.ModelProto:
    return load_model(parse(text, **{**WEIGHTS, **changed}))


def corrected(wanted: onnx.ModelProto, made: onnx.ModelProto, feeds: list[dict[str, Array]]) -> Mapping[str, Finding]:
    graph = to_graph(wanted)
    found = [biased(graph, node) for node in graph.nodes]
    return measured(wanted, made, {layer.ends.name: layer for layer in found if layer is not None}, feeds, silent)


def test_a_shift_is_taken_back_where_it_arises_and_nowhere_else() -> None:
    found = corrected(net(), net(b1=normal(4) - np.float32(0.3)), FEEDS)
    assert found.keys() == {"one", "two", "three"} and found["one"].reason == CORRECTED
    shift = found["one"].shift
    assert shift is not None
    np.testing.assert_allclose(shift, 0.3, atol=1e-6)
    for name in ("two", "three"):
        again = found[name].shift
        assert again is None or np.abs(again).max() < 1e-6


def test_the_prefix_is_the_corrected_one() -> None:
    """Were it not, the second layer would take back what the first one's shift does to it, a second time."""
    one, two = np.float32(0.3), np.array([0.5, -0.5, 0.1, 0], np.float32)
    found = corrected(net(), net(b1=normal(4) - one, b2=normal(4) - two), FEEDS)
    assert found["two"].shift is not None
    np.testing.assert_allclose(found["two"].shift, two, atol=1e-6)
    assert found["two"].detail.startswith("SQNR of its output ") and " -> " in found["two"].detail


def test_what_is_exact_is_not_told() -> None:
    assert corrected(net(), net(), FEEDS) == {}


def test_what_halves_do_not_agree_on_is_left() -> None:
    feeds = [{"x": feed["x"] * np.float32((-1) ** at)} for at, feed in enumerate([FEEDS[0]] * 8)]
    text = "g (float[N,4] x) => (float[N,4] y) { [one] y = Gemm(x, w1) }"
    found = corrected(net(text), net(text, w1=WEIGHTS["w1"] * np.float32(0.9)), feeds)
    assert found["one"].shift is None and found["one"].reason == UNSURE


@pytest.mark.parametrize("bias", [np.inf, np.nan])
def test_infinite_outputs_are_left(bias: float) -> None:
    found = corrected(net(), net(b1=np.full(4, bias, np.float32)), FEEDS)
    assert {finding.reason for finding in found.values()} == {INFINITE}


def test_batches_without_room_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    made = net(b1=normal(4) - np.float32(0.3))
    full = corrected(net(), made, FEEDS)["one"].shift
    peaks, held = [], walk.held_bytes

    def watched(walks: Any) -> int:
        peaks.append(held(walks))
        return peaks[-1]

    monkeypatch.setattr(walk, "held_bytes", watched)
    corrected(net(), made, FEEDS)
    whole = max(peaks)
    peaks.clear()
    limit = whole // 2 + 1
    monkeypatch.setattr(module, "KEPT_BYTES", limit)
    found = corrected(net(), made, FEEDS)["one"].shift
    assert full is not None and found is not None
    np.testing.assert_allclose(found, full, atol=1e-6)
    assert max(peaks) <= limit + FEEDS[0]["x"].nbytes * 4 < whole  # what one batch adds at most
