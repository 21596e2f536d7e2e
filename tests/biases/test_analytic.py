"""What batch norms tell of the mean that rounding takes is what is measured on normal inputs."""

from typing import Any

import numpy as np
import pytest

from onnxq.biases.analytic import EXPECTED, analytic
from onnxq.biases.where import biased
from onnxq.graph import layout
from onnxq.normal import Normal
from onnxq.plan import Weight
from onnxq.scheme import QParams, Scheme, dequantize
from onnxq.testing import normal, parse, run, workspace
from onnxq.workspace import RoundedWeight, Workspace

MEAN, STD = np.array([0.5, -1.0, 2.0, 0.0]), np.array([1.0, 0.5, 2.0, 3.0])
LAYERS = {
    "conv": ("[l] y = Conv(r, w)", (6, 4, 1, 1), 1),
    "conv of 3 x 3": ("[l] y = Conv(r, w)", (6, 4, 3, 3), 1),
    "groups": ("[l] y = Conv<group=2>(r, w)", (6, 2, 3, 3), 1),
    "depthwise": ("[l] y = Conv<group=4>(r, w)", (8, 1, 3, 3), 1),
    "transposed": ("[l] y = ConvTranspose<group=2, strides=[2,2]>(r, w)", (4, 3, 2, 2), 1),
    "gemm": ("p = GlobalAveragePool(r) f = Flatten(p) [l] y = Gemm<alpha=0.5>(f, w)", (4, 6), 1),
    "gemm, transposed": ("p = GlobalAveragePool(r) f = Flatten(p) [l] y = Gemm<transB=1>(f, w)", (6, 4), 1),
    "matmul": ("p = GlobalAveragePool(r) f = Flatten(p) [m] a = MatMul(f, w) [l] y = Add(a, b)", (4, 6), -1),
}


def space(body: str, **weights: Any) -> Workspace:
    """A layer behind the Relu of a tensor that a batch norm is known of; its weight is rounded down."""
    rank = "A,B" if "Flatten" in body else "A,B,C,D"
    made = workspace(parse(f"g (float[N,4,7,7] x) => (float[{rank}] y) {{ r = Relu(x) {body} }}", **weights))
    made.normals["x"] = Normal(MEAN, STD)
    for node in made.graph.nodes:
        where = layout(node) if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul") else None
        if where is not None:
            values = node.inputs[where.index].values
            params = QParams(Scheme(True, True), np.asarray(0.1, np.float32), np.asarray(0, np.int8))
            rounded = RoundedWeight(np.floor(values / 0.1).astype(np.int8), params)
            made.weights[Weight("w", params.scheme, frozenset({(node.name, where.index)}))] = rounded
    return made


def findings(made: Workspace) -> Any:
    found = [biased(made.graph, node) for node in made.graph.nodes]
    return analytic(made, {layer.ends.name: layer for layer in found if layer is not None})


@pytest.mark.parametrize("name", LAYERS)
def test_the_mean_that_rounding_takes(name: str) -> None:
    body, shape, axis = LAYERS[name]
    made = space(body, w=normal(*shape), b=normal(6))
    found = findings(made)["l"]
    assert found.reason == EXPECTED
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2000, 4, 7, 7)) * STD.reshape(4, 1, 1) + MEAN.reshape(4, 1, 1)).astype(np.float32)
    wanted = run(made, x=x)["y"]
    (rounded,) = made.weights.values()
    made.graph.tensors()["w"].values = dequantize(rounded.integers, rounded.params)
    lost = wanted - run(made, x=x)["y"]
    lost = lost.mean(axis=tuple(i for i in range(lost.ndim) if i != axis % lost.ndim))
    np.testing.assert_allclose(found.shift, lost, atol=0.01 * np.abs(lost).max())


def test_layers_of_which_nothing_is_known_are_left_with_a_reason() -> None:
    body = "[l] a = Conv(r, w) s = Sigmoid(a) [two] b = Conv(s, w) y = Identity(b)"
    found = findings(space(body, w=normal(4, 4, 1, 1)))
    assert found["l"].shift is not None and found["two"].shift is None
    assert found["two"].reason == "its bias is left: no batch norm tells the mean of what it reads: behind Sigmoid"


@pytest.mark.parametrize(
    ("body", "shape", "said"),
    [
        ("[m] a = MatMul(r, w) [l] y = Add(a, b)", (7, 6), "its channels are not on axis 1"),
        ("p = GlobalAveragePool(r) f = Reshape(p, to) [l] y = Gemm<transA=1>(f, w)", (7, 6), "not on axis 1"),
        ("f = Reshape(r, to) [l] y = Gemm(f, w)", (7, 6), "a Reshape that moves channels"),
    ],
)
def test_channels_that_are_elsewhere(body: str, shape: tuple[int, ...], said: str) -> None:
    found = findings(space(body, w=normal(*shape), b=normal(6), to=np.array([-1, 7])))["l"]
    assert found.shift is None and said in found.reason


def test_a_layer_whose_weight_is_not_rounded_is_not_told() -> None:
    made = space("[l] y = Conv(r, w)", w=normal(6, 4, 1, 1))
    made.weights.clear()
    assert findings(made) == {}
