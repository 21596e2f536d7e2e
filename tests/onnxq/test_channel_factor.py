"""A factor for every channel: exact, told to what a batch norm knew, and all or nothing."""

from typing import Any

import numpy as np
import pytest

from onnxq.channel_factor import multiply
from onnxq.channel_flow import Region, regions
from onnxq.errors import Declined
from onnxq.normal import Normal
from onnxq.testing import normal, ops, parse, run, workspace
from onnxq.workspace import Workspace

FACTOR = np.array([0.5, 3.0, 1.0, 100.0])
X = normal(3, 3, 6, 6)


def net(between: str = "b = Relu(a)", last: str = "y = Conv(b, w, c)", **weights: Any) -> Workspace:
    constants: dict[str, Any] = {
        "v": normal(4, 3, 1, 1),
        "u": normal(4),
        "w": normal(2, 4, 1, 1),
        "c": normal(2),
        **weights,
    }
    text = f"[one] a = Conv(x, v, u) {between} [two] {last}"
    return workspace(parse(f"g (float[N,3,6,6] x) => (float[N,P,Q,R] y) {{ {text} }}", **constants))


def region_of(space: Workspace) -> Region:
    (region,) = regions(space.graph)
    return region


def constants(space: Workspace) -> dict[str, Any]:
    return {name: tensor.values for name, tensor in space.graph.tensors().items() if hasattr(tensor, "values")}


def test_weights_and_bias_are_multiplied_where_channels_are_made_and_divided_where_they_are_read() -> None:
    space = net()
    before, was = run(space, x=X)["y"], constants(space)
    multiply(space, region_of(space), FACTOR)
    now = constants(space)
    np.testing.assert_allclose(now["v"], was["v"] * FACTOR.reshape(4, 1, 1, 1), rtol=1e-6)
    np.testing.assert_allclose(now["u"], was["u"] * FACTOR, rtol=1e-6)
    np.testing.assert_allclose(now["w"], was["w"] / FACTOR.reshape(1, 4, 1, 1), rtol=1e-6)
    np.testing.assert_array_equal(now["c"], was["c"])
    np.testing.assert_allclose(run(space, x=X)["y"], before, atol=1e-5)


@pytest.mark.parametrize(
    ("between", "shape"),
    [
        ("b = Add(a, k)", (4, 1, 1)),
        ("b = Sub(k, a)", (1, 4, 1, 1)),
        ("b = Add(k, a)", ()),
        ("b = Sub(a, k)", (4, 6, 6)),
    ],
)
def test_constants_that_are_added_are_multiplied_too(between: str, shape: tuple[int, ...]) -> None:
    space = net(between, k=normal(*shape, seed=5))
    before, was = run(space, x=X)["y"], constants(space)["k"]
    multiply(space, region_of(space), FACTOR)
    np.testing.assert_allclose(constants(space)["k"], was * FACTOR.reshape(4, 1, 1), rtol=1e-6)
    np.testing.assert_allclose(run(space, x=X)["y"], before, atol=1e-4)
    assert sorted(constants(space)) == ["c", "k", "u", "v", "w"]


def test_a_constant_that_others_read_is_kept_for_them() -> None:
    space = net("e = Add(a, k) b = Relu(e)", "f = Conv(b, w) y = Add(f, k)", k=normal(1))
    before, was = run(space, x=X)["y"], constants(space)["k"]
    multiply(space, region_of(space), FACTOR)
    np.testing.assert_array_equal(constants(space)["k"], was)
    assert "e/k" in constants(space) or len(constants(space)) == 5
    np.testing.assert_allclose(run(space, x=X)["y"], before, atol=1e-4)


@pytest.mark.parametrize("norm", ["LayerNormalization(t, g, q)", "LayerNormalization(t, g)", "Mul(g, t)"])
def test_norms_take_a_factor(norm: str) -> None:
    text = f"t = Transpose<perm=[0,2,3,1]>(x) n = {norm} y = MatMul(n, m)"
    more: dict[str, Any] = {"q": normal(4)} if "q" in norm else {}
    model = parse(
        f"g (float[N,4,6,6] x) => (float[N,6,6,2] y) {{ {text} }}", g=normal(4), m=normal(4, 2, seed=1), **more
    )
    space, x = workspace(model), normal(3, 4, 6, 6)
    before, was = run(space, x=x)["y"], constants(space)
    multiply(space, region_of(space), FACTOR)
    for name in "gq"[: 1 + len(more)]:
        np.testing.assert_allclose(constants(space)[name], was[name] * FACTOR, rtol=1e-6)
    np.testing.assert_allclose(run(space, x=x)["y"], before, atol=1e-4)


def test_what_batch_norms_told_is_multiplied_in_every_tensor_of_the_region() -> None:
    space = net("b = Neg(a)")
    space.normals |= {"a": Normal(np.ones(4), np.ones(4)), "y": Normal(np.ones(2), np.ones(2))}
    multiply(space, region_of(space), FACTOR)
    np.testing.assert_allclose(space.normals["a"].mean, FACTOR)
    np.testing.assert_allclose(space.normals["a"].std, FACTOR)
    np.testing.assert_array_equal(space.normals["y"].mean, np.ones(2))


def test_what_stays_is_not_written_anew() -> None:
    space = net()
    (region,) = regions(space.graph)
    was = constants(space)
    multiply(space, region, np.ones(4))
    assert all(constants(space)[name] is was[name] for name in was)


@pytest.mark.parametrize(
    ("factor", "weights"),
    [(1e30, {"u": np.full(4, 1e30, np.float32)}), (1e-30, {"w": np.full((2, 4, 1, 1), 1e30, np.float32)})],
)
def test_what_is_declined_half_way_leaves_the_graph_as_it_was(factor: float, weights: dict[str, Any]) -> None:
    space = net("e = Add(a, k) b = Relu(e)", k=normal(4, 1, 1), **weights)
    space.normals["a"] = Normal(np.ones(4), np.ones(4))
    before = space.model().SerializeToString(deterministic=True)
    with pytest.raises(Declined, match="not be finite"):
        multiply(space, region_of(space), np.full(4, factor))
    assert space.model().SerializeToString(deterministic=True) == before
    np.testing.assert_array_equal(space.normals["a"].mean, np.ones(4))
    assert ops(space) == ["Conv", "Add", "Relu", "Conv"]


def test_a_matmul_stays_one() -> None:
    text = "a = MatMul(x, m) b = Relu(a) y = MatMul(b, n)"
    space = workspace(parse(f"g (float[N,3] x) => (float[N,2] y) {{ {text} }}", m=normal(3, 4), n=normal(4, 2)))
    before = run(space, x=X[:, :, 0, 0])["y"]
    multiply(space, region_of(space), FACTOR)
    np.testing.assert_allclose(run(space, x=X[:, :, 0, 0])["y"], before, atol=1e-5)
    assert ops(space) == ["MatMul", "Relu", "MatMul"]
