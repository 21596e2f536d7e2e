"""High biases move behind the activation function where no sample falls below them, and nowhere else."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.execute import returning
from onnxq.normal import Normal
from onnxq.passes import AbsorbHighBias
from onnxq.proof import Proof, rewrite
from onnxq.samples import input_specs, open_samples
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace
from onnxq.workspace import Workspace

STEP = AbsorbHighBias()
BIAS = np.array([9.0, 0.1, -1.0, 5.0], np.float32)  # of weights that make no more than about 3
X = np.clip(normal(8, 3, 5, 5), -1, 1)


def net(between: str = "b = Relu(a)", last: str = "y = Conv(b, w, c)", **weights: Any) -> onnx.ModelProto:
    constants = {"v": np.clip(normal(4, 3, 1, 1), -1, 1), "u": BIAS, "w": normal(2, 4, 1, 1), "c": normal(2)}
    text = f"g (float[N,3,5,5] x) => (float[N,P,Q,R] y) {{ [one] a = Conv(x, v, u) {between} [two] {last} }}"
    return parse(text, **{**constants, **weights})


def bias(space: Workspace, name: str) -> Any:
    return next(node for node in space.graph.nodes if node.name == name).inputs[2].values


@pytest.mark.parametrize(
    "model",
    [
        net(),
        net("b = LeakyRelu(a)"),
        net("b = PRelu(a, s)", s=np.full((4, 1, 1), 0.1, np.float32)),
        net("r = Relu(a) b = MaxPool<kernel_shape=[2,2]>(r)"),
        net("r = Relu(a) b = AveragePool<kernel_shape=[2,2]>(r)"),
        net(last="y = Conv(b, w)"),
        net(last="y = Conv<group=2>(b, w)", w=normal(6, 2, 1, 1)),
        net(last="y = Conv(b, w)", w=normal(2, 4, 3, 3)),
    ],
    ids=["relu", "leaky", "prelu", "max pool", "average pool", "no bias", "groups", "3x3 without padding"],
)
def test_the_function_is_kept_and_the_activation_reaches_less_far(model: onnx.ModelProto) -> None:
    space = workspace(model, {"x": X})
    before = run(model, x=X)["y"]
    assert rewrite(space, STEP, Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, x=X)["y"], before, atol=1e-4)
    found = bias(space, "one")
    assert found[0] < 7
    assert found[3] < 4.5
    np.testing.assert_array_equal(found[1:3], BIAS[1:3])
    assert changes_nothing(space, STEP)
    (entry,) = space.ledger.of("changed")
    assert entry.reason == "high biases of 1 layers moved behind their activation function"


def test_the_least_value_of_all_samples_counts_not_of_the_first_ones() -> None:
    images = np.concatenate([np.zeros((20, 3, 5, 5), np.float32), np.tile(X, (3, 1, 1, 1))])
    model = net()
    space = workspace(model)
    space.samples = open_samples({"x": images}, input_specs(model))
    assert STEP(space)
    pre = run(returning(model, ["a"]), x=images)["a"]
    taken = BIAS - bias(space, "one")
    np.testing.assert_allclose(taken, np.maximum(pre.min(axis=(0, 2, 3)), 0) * (taken > 0), rtol=1e-4)


def test_what_a_batch_norm_told_is_taken_at_its_word() -> None:
    space = workspace(net(), {"x": X})
    space.normals["a"] = Normal(np.array([9.0, 0.1, -1, 5]), np.array([2.0, 1, 1, 1]))
    assert STEP(space)
    np.testing.assert_allclose(bias(space, "one"), BIAS - [3, 0, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(space.normals["a"].mean, [6, 0.1, -1, 3])
    assert not STEP(space)


def test_a_batch_norm_that_told_wrong_is_found_out() -> None:
    space = workspace(net(), {"x": X})
    space.normals["a"] = Normal(np.array([20.0, 0.1, -1, 5]), np.ones(4))
    before = space.model().SerializeToString(deterministic=True)
    assert not rewrite(space, STEP, Proof(space.source, space.samples))
    assert space.model().SerializeToString(deterministic=True) == before
    assert "undone" in space.ledger.of("declined")[0].reason


def test_matrix_products_with_their_biases_in_sums() -> None:
    body = "m = MatMul(x, v) a = Add(m, u) b = Relu(a) y = MatMul(b, w)"
    text = f"g (float[N,5,3] x) => (float[N,5,2] y) {{ {body} }}"
    model = parse(text, v=np.clip(normal(3, 4), -1, 1), u=BIAS, w=normal(4, 2))
    feeds = {"x": np.clip(normal(8, 5, 3), -1, 1)}
    space = workspace(model, feeds)
    assert rewrite(space, STEP, Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, **feeds)["y"], run(model, **feeds)["y"], atol=1e-4)
    assert ops(space) == ["MatMul", "Add", "Relu", "MatMul", "Add"]
    assert changes_nothing(space, STEP)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (net(last="y = Conv<pads=[1,1,1,1]>(b, w)", w=normal(2, 4, 3, 3)), "zero padding"),
        (net(last="y = ConvTranspose(b, w)", w=normal(4, 2, 1, 1)), "ConvTranspose"),
    ],
)
def test_layers_that_cannot_take_a_shift_decline(model: onnx.ModelProto, reason: str) -> None:
    space = workspace(model, {"x": X})
    assert changes_nothing(space, STEP)
    (entry,) = space.ledger.of("declined")
    assert reason in entry.reason


@pytest.mark.parametrize(
    "model",
    [
        net("b = Clip(a, z, s)", z=np.float32(0), s=np.float32(6)),
        net("b = Sigmoid(a)"),
        net("b = Identity(a)"),
        net("r = Relu(a) b = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(r)"),
        net("r = Relu(a) b = Add(r, a)"),
        net("b = Relu(a) [out] o = Identity(b)"),
        net(u=BIAS - 9),
    ],
    ids=["clip", "sigmoid", "nothing between", "padded pool", "sum", "another reader", "low bias"],
)
def test_other_graphs_are_left_alone(model: onnx.ModelProto) -> None:
    if any(node.name == "out" for node in model.graph.node):
        model.graph.output.append(onnx.helper.make_tensor_value_info("o", 1, ["N", 4, 5, 5]))
    assert changes_nothing(workspace(model, {"x": X}), STEP)
