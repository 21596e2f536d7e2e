"""What channels weigh is what a layer makes of an error in each of them."""

import numpy as np
import pytest

from onnxq.channel_weights import COARSE, FINE, ChannelWeights, channel_weights
from onnxq.errors import Declined
from onnxq.model import load_model, to_graph
from onnxq.testing import Array, named, normal, parse, run

LAYERS: dict[str, tuple[str, tuple[int, ...], Array]] = {
    "conv": ("y = Conv <pads = [1, 1, 1, 1]> (x, w)", (1, 4, 7, 7), normal(6, 4, 3, 3)),
    "groups": ("y = Conv <pads = [1, 1, 1, 1], group = 2> (x, w)", (1, 4, 7, 7), normal(6, 2, 3, 3)),
    "depthwise": ("y = Conv <pads = [1, 1], group = 4> (x, w)", (1, 4, 7), normal(4, 1, 3)),
    "transposed": ("y = ConvTranspose <group = 2> (x, w)", (1, 4, 7, 7), normal(4, 3, 3, 3)),
    "gemm": ("y = Gemm <transB = 1> (x, w)", (1, 4), normal(5, 4)),
    "matmul": ("y = MatMul (x, w)", (1, 3, 4), normal(4, 5)),
    "left": ("y = MatMul (w, x)", (1, 4, 3), normal(5, 4)),
}


def weights(text: str, shape: tuple[int, ...], edges: set[tuple[str, int]] | None = None, **w: Array) -> ChannelWeights:
    axes, free = ",".join(map(str, shape[1:])), ",".join("ABCD"[: len(shape)])
    source = load_model(named(parse(f"g (float[N,{axes}] x) => (float[{free}] y) {{ {text} }}", 17, **w)))
    graph = to_graph(source)
    return channel_weights(graph, graph.tensors()["x"], edges)


@pytest.mark.parametrize("name", LAYERS)
def test_they_are_the_power_that_an_impulse_has_behind_the_layer(name: str) -> None:
    text, shape, w = LAYERS[name]
    found = weights(text, shape, w=w)
    channels = shape[found.axis]
    axes, free = ",".join(map(str, shape)), ",".join("ABCD"[: len(shape)])
    model = parse(f"g (float[{axes}] x) => (float[{free}] y) {{ {text} }}", w=w)
    powers = []
    for channel in range(channels):
        impulse = np.zeros(shape, np.float32)
        middle = [size // 2 for size in shape]
        middle[found.axis] = channel
        impulse[tuple(middle)] = 1
        powers.append(np.square(run(model, x=impulse)["y"].astype(np.float64)).sum())
    np.testing.assert_allclose(np.array(found.each) / COARSE, np.array(powers) / max(powers), atol=1 / COARSE)


def test_readers_count_alike_and_others_as_one_that_passes_all_on() -> None:
    one, other = np.diag([3.0, 1.0]).astype(np.float32), np.diag([100.0, 100.0]).astype(np.float32)
    text = "a = MatMul(x, w) b = MatMul(x, v) c = Mul(x, a) y = Sum(a, b, c)"
    each = np.array(weights(text, (1, 2), w=one, v=other).each)
    expected = np.array([0.9 + 0.5 + 0.5, 0.1 + 0.5 + 0.5])
    np.testing.assert_allclose(each / each.max(), expected / expected.max(), atol=1e-3)
    alone = np.array(weights(text, (1, 2), {("a", 0)}, w=one, v=other).each)
    np.testing.assert_allclose(alone / alone.max(), [1, 1 / 9], atol=1e-3)


def test_small_weights_are_told_apart_and_only_no_weight_is_nothing() -> None:
    w = np.diag([1.0, 0.01, 1e-6, 0.0]).astype(np.float32)
    assert weights("y = MatMul(x, w)", (1, 4), w=w).each == (FINE, round(FINE * 1e-4), 1, 0)


def test_a_value_has_the_weight_of_its_channel() -> None:
    found = ChannelWeights(-2, (1, 2)).row((3, 2, 2))
    np.testing.assert_array_equal(found, [1, 1, 2, 2] * 3)


REFUSALS = {
    "no layer with constant weights": "y = Relu(x)",
    "different axes": "a = MatMul(w, x) b = MatMul(x, w) y = Add(a, b)",
    "all zero": "y = MatMul(x, z)",
    "first axis": "y = Gemm <transA = 1> (x, w)",
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_tensors_without_them(reason: str) -> None:
    shape = (1, 4) if "first" in reason else (1, 4, 4)
    with pytest.raises(Declined, match=reason):
        weights(REFUSALS[reason], shape, w=normal(4, 4), z=np.zeros((4, 4), np.float32))
