"""The bias of every kind of linear layer is found, and moves its output."""

from typing import Any

import numpy as np
import pytest

from onnxq.biases.where import bias_of, biased, set_bias
from onnxq.errors import Declined
from onnxq.graph import Names
from onnxq.model import load_model, to_graph
from onnxq.testing import normal, parse, run, workspace
from onnxq.workspace import Workspace

IMAGE, ROWS = "float[N,4,5,5] x", "float[N,4] x"
LAYERS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "conv": (IMAGE, "[l] y = Conv(x, w, b)", {"w": normal(6, 4, 3, 3), "b": normal(6)}, 1),
    "conv without a bias": (IMAGE, "[l] y = Conv(x, w)", {"w": normal(6, 4, 3, 3)}, 1),
    "depthwise": (IMAGE, "[l] y = Conv<group=4>(x, w, b)", {"w": normal(8, 1, 3, 3), "b": normal(8)}, 1),
    "transposed": (IMAGE, "[l] y = ConvTranspose<group=2>(x, w)", {"w": normal(4, 3, 2, 2)}, 1),
    "gemm": (ROWS, "[l] y = Gemm<alpha=0.5, beta=0.25>(x, w, b)", {"w": normal(4, 6), "b": normal(6)}, 1),
    "gemm, transposed": (ROWS, "[l] y = Gemm<transB=1>(x, w)", {"w": normal(6, 4)}, 1),
    "gemm, scalar": (ROWS, "[l] y = Gemm(x, w, b)", {"w": normal(4, 6), "b": normal(1)}, 1),
    "matmul": ("float[N,3,4] x", "[m] a = MatMul(x, w) [l] y = Add(a, b)", {"w": normal(4, 6), "b": normal(6)}, -1),
    "matmul, embedded": (
        "float[N,3,4] x", "[m] a = MatMul(x, w) [l] y = Add(b, a)", {"w": normal(4, 6), "b": normal(1, 3, 6)}, -1
    ),
    "matmul, scalar": (ROWS, "[m] a = MatMul(x, w) [l] y = Add(b, a)", {"w": normal(4, 6), "b": normal()}, -1),
}  # fmt: skip


def space(inputs: str, body: str, **weights: Any) -> Workspace:
    rank = inputs.count(",") + 1
    sizes = ",".join("ABCD"[:rank])
    return workspace(parse(f"g ({inputs}) => (float[{sizes}] y) {{ {body} }}", **weights))


@pytest.mark.parametrize("name", LAYERS)
def test_a_shift_moves_the_output(name: str) -> None:
    inputs, body, weights, axis = LAYERS[name]
    made = space(inputs, body, **weights)
    feeds = next(iter(made.samples.batches(4))).feeds
    before = run(made, **feeds)["y"]
    node = next(entry for entry in made.graph.nodes if entry.op != "Add")
    found = biased(made.graph, node)
    assert found is not None and found.axis == axis
    assert (found.ends.name, found.channels) == ("l", before.shape[axis])
    shift = normal(found.channels, seed=5).astype(np.float64)
    assert set_bias(Names(made.graph), found, bias_of(found) + shift)
    assert not set_bias(Names(made.graph), found, bias_of(found))
    along = shift.reshape(-1, *[1] * (before.ndim - 2)) if axis == 1 else shift
    np.testing.assert_allclose(run(made, **feeds)["y"], before + along, rtol=1e-4, atol=1e-4)


def test_a_bias_that_two_layers_share_is_moved_for_one() -> None:
    made = space(IMAGE, "[one] a = Conv(x, w, b) [two] y = Conv(a, w, b)", w=normal(4, 4, 1, 1), b=normal(4))
    found = biased(made.graph, made.graph.nodes[0])
    assert found is not None
    assert set_bias(Names(made.graph), found, bias_of(found) + 1)
    np.testing.assert_array_equal(made.graph.nodes[0].inputs[2].values, normal(4) + 1)
    np.testing.assert_array_equal(made.graph.nodes[1].inputs[2].values, normal(4))
    assert made.graph.nodes[0].inputs[2].name != made.graph.nodes[1].inputs[2].name
    run(made, x=normal(1, 4, 5, 5))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[l] y = MatMul(x, w)", "without the Add of a constant"),
        ("[l] a = MatMul(x, w) y = Add(a, x)", "without the Add of a constant"),
        ("[l] a = MatMul(x, w) c = Add(a, b) y = Mul(a, c)", "without the Add of a constant"),
        ("[l] a = MatMul(w, x) y = Add(a, b)", "without the Add of a constant"),
        ("[l] a = MatMul(x, v) y = Add(a, b)", "its Add repeats it"),
        ("c = Exp(b) [l] y = Gemm(x, w, c)", "its bias is computed at run time"),
        ("d = Cast<to=11>(x) [l] e = Gemm(d, k) y = Cast<to=1>(e)", "its weight is float64"),
    ],
)
def test_why_a_layer_is_left(body: str, said: str) -> None:
    text = f"g (float[4,4] x) => (float[4,4] y) {{ {body} }}"
    weights: dict[str, Any] = {
        "w": normal(4, 4),
        "v": normal(4, 1),
        "b": normal(4),
        "k": normal(4, 4).astype(np.float64),
    }
    graph = to_graph(load_model(parse(text, **weights)))
    node = next(entry for entry in graph.nodes if entry.op in ("MatMul", "Gemm"))
    with pytest.raises(Declined, match=said):
        biased(graph, node)


def test_what_is_no_layer() -> None:
    made = space(ROWS, "[t] b = Transpose(x) [p] y = MatMul(x, b)")
    assert [biased(made.graph, node) for node in made.graph.nodes] == [None, None]
