"""What an activation function behind a layer lets through, and what it does to a correction."""

from typing import Any

import numpy as np
import pytest

from onnxq.biases.error import BiasError
from onnxq.biases.passing import behind
from onnxq.model import load_model, to_graph
from onnxq.testing import normal, parse, run

BOUNDS: dict[str, Any] = {"lo": np.array(-1, np.float32), "hi": np.array(0.5, np.float32)}


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu(a)",
        "y = LeakyRelu<alpha=0.2>(a)",
        "y = Clip(a, lo, hi)",
        "y = Clip(a, , hi)",
        "y = Clip(a)",
        "y = Sigmoid(a)",
        "y = Tanh(a)",
        "y = HardSwish(a)",
        "s = Sigmoid(a) y = Mul(a, s)",
    ],
)
def test_the_function_is_the_operators(body: str) -> None:
    model = load_model(parse(f"g (float[N] x) => (float[N] y) {{ a = Neg(x) {body} }}", **BOUNDS))
    graph = to_graph(model)
    function = behind(graph, graph.tensors()["a"])
    assert function is not None
    x = np.concatenate([normal(100, scale=3), np.array([-200, 200], np.float32)])
    with np.errstate(over="ignore"):
        found = function(-x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, run(model, x=x)["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Exp(a)", "float[N] y"),
        ("b = Relu(a) y = Add(a, b)", "float[N] y"),
        ("y = Relu(a)", "float[N] y, float[N] a"),
        ("m = Neg(lo) y = Clip(a, m, hi)", "float[N] y"),
    ],
)
def test_elsewhere_all_is_passed(body: str, outputs: str) -> None:
    graph = to_graph(load_model(parse(f"g (float[N] x) => ({outputs}) {{ a = Neg(x) {body} }}", **BOUNDS)))
    assert behind(graph, graph.tensors()["a"]) is None


def test_what_is_squashed_has_no_say() -> None:
    """A detector: 0.3 too much where it sees something, 5 too little everywhere else, where its Sigmoid is 0."""
    wanted = np.full((2, 1, 100), -20, np.float32)
    lost = np.full_like(wanted, -5)
    wanted[:, :, :4], lost[:, :, :4] = 0.5, 0.3
    graph = to_graph(load_model(parse("g (float[N] x) => (float[N] y) { a = Neg(x) y = Sigmoid(a) }")))
    aware, unaware = BiasError(behind(graph, graph.tensors()["a"])), BiasError()
    for found in (aware, unaware):
        for _ in range(2):
            found.add(wanted, wanted - lost, 1)
    np.testing.assert_allclose(aware.correction(), [0.3], atol=1e-3)
    np.testing.assert_allclose(unaware.correction(), [0.04 * 0.3 - 0.96 * 5], atol=1e-3)
    assert aware.sqnr_db()[1] > 50 and unaware.sqnr_db()[1] < 30


def test_a_channel_that_is_shut_is_left() -> None:
    graph = to_graph(load_model(parse("g (float[N] x) => (float[N] y) { a = Neg(x) y = Relu(a) }")))
    found = BiasError(behind(graph, graph.tensors()["a"]))
    wanted = np.stack([np.full((4, 9), -3), np.full((4, 9), 3)], axis=1).astype(np.float32)
    for _ in range(4):
        found.add(wanted, wanted - np.float32(0.1), 1)
    np.testing.assert_allclose(found.correction(), [0, 0.1], atol=1e-6)
