"""Means that follow from batch norms are those that are measured."""

from typing import Any

import numpy as np
import pytest

from onnxq.biases.expected import Expectations
from onnxq.errors import Declined
from onnxq.normal import Normal
from onnxq.testing import normal, parse, run, workspace
from onnxq.workspace import Workspace

MEAN, STD = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, 2.0])
X = (np.random.default_rng(0).standard_normal((4000, 3, 4, 4)) * STD.reshape(3, 1, 1) + MEAN.reshape(3, 1, 1)).astype(
    np.float32
)


CONSTANTS: dict[str, Any] = {
    "lo": np.array(0, np.float32),
    "hi": np.array(6, np.float32),
    "two": normal(1),
    "flat": np.array([0, 48]),
    "one": np.array([0, -1, 4, 4]),
}


def space(body: str, shape: str = "N,3,4,4") -> Workspace:
    text = f"g (float[N,3,4,4] i) => (float[{shape}] y) {{ x = Neg(i) {body} z = Abs(x) }}"
    made = workspace(parse(text, **CONSTANTS))
    made.normals["x"] = Normal(MEAN, STD)
    return made


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Identity(x)", "N,3,4,4"),
        ("y = Relu(x)", "N,3,4,4"),
        ("y = Clip(x, lo, hi)", "N,3,4,4"),
        ("y = Clip(x, , hi)", "N,3,4,4"),
        ("y = LeakyRelu<alpha=0.2>(x)", "N,3,4,4"),
        ("a = Identity(x) b = Relu(a) y = Add(b, x)", "N,3,4,4"),
        ("a = Relu(x) b = GlobalAveragePool(a) y = Flatten(b)", "N,3"),
        ("a = Relu(x) b = ReduceMean<axes=[2,3], keepdims=0>(a) y = Identity(b)", "N,3"),
        ("a = Relu(x) b = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1]>(a) y = Identity(b)", "N,3,5,5"),
        ("a = Relu(x) y = Flatten(a)", "N,48"),
        ("a = Relu(x) y = Reshape(a, flat)", "N,48"),
        ("a = Relu(x) y = Concat<axis=1>(a, x)", "N,6,4,4"),
    ],
)
def test_the_mean_is_that_of_normal_samples(body: str, shape: str) -> None:
    made = space(body, shape)
    model = made.model()
    del model.graph.node[0]
    model.graph.input[0].name = "x"
    seen = run(model, x=X)["y"]
    axes = tuple(axis for axis in range(seen.ndim) if axis != 1)
    found = Expectations(made.normals).mean(made.graph.tensors()["y"])
    np.testing.assert_allclose(found, seen.mean(axis=axes), atol=0.1 if shape == "N,48" else 0.03)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("y = Exp(x)", "behind Exp"),
        ("y = Neg(i)", "behind Neg"),
        ("y = Relu(i)", "Relu behind an input"),
        ("a = Add(x, x) y = Relu(a)", "Relu behind Add"),
        ("y = Add(x, two)", "behind Add"),
        ("m = ReduceMax<keepdims=0>(x) y = Clip(x, m)", "bounds that are computed"),
        ("y = MaxPool<kernel_shape=[1,1]>(x)", "behind MaxPool"),
        ("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", "behind AveragePool"),
        ("y = ReduceMean<axes=[1]>(x)", "behind ReduceMean"),
        ("y = Concat<axis=2>(x, x)", "behind Concat"),
        ("t = Transpose<perm=[0,2,1,3]>(x) y = Identity(t)", "behind Transpose"),
        ("y = Reshape(x, one)", "a Reshape"),
    ],
)
def test_what_is_not_told(body: str, said: str) -> None:
    made = space(body, "N,A,B,C")
    with pytest.raises(Declined, match=f"no batch norm tells the mean of what it reads: .*{said}"):
        Expectations(made.normals).mean(made.graph.tensors()["y"])


def test_inputs_are_not_told() -> None:
    made = space("y = Neg(i)")
    with pytest.raises(Declined, match="an input of the model"):
        Expectations(made.normals).mean(made.graph.tensors()["i"])
