"""Scaling channels through a layer's weight is the same as scaling its input or its output."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.channels import (
    input_axis,
    input_channels,
    output_axis,
    output_channels,
    scale_input_channels,
    scale_output_channels,
)
from onnxq.errors import Declined
from onnxq.graph import per_channel
from onnxq.testing import Array, normal, ops, parse, run, workspace

Case = tuple[str, tuple[int, ...], dict[str, Any], int]


def conv(rank: int, group: int, per_group: int, out: int, transpose: bool = False, bias: bool = True) -> Case:
    """The node, its input's shape, its weights, and its output channels."""
    channels = group * per_group
    shape = (channels, out) if transpose else (group * out, per_group)
    weights: dict[str, Any] = {"w": normal(*shape, *[2] * rank, seed=1)}
    if bias:
        weights["b"] = normal(group * out, seed=2)
    op = "ConvTranspose" if transpose else "Conv"
    return f"{op}<group={group}>(x, {', '.join(weights)})", (2, channels, *[4] * rank), weights, group * out


def gemm(transposed: bool, alpha: float, beta: float, bias: tuple[int, ...] | None) -> Case:
    weights: dict[str, Any] = {"w": normal(*((5, 3) if transposed else (3, 5)), seed=1)}
    if bias is not None:
        weights["b"] = normal(*bias, seed=2)
    attrs = f"<transB={int(transposed)}, alpha={alpha}, beta={beta}>"
    return f"Gemm{attrs}(x, {', '.join(weights)})", (2, 3), weights, 5


CONVS = st.builds(
    conv, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.booleans(), st.booleans()
)
GEMMS = st.builds(
    gemm,
    st.booleans(),
    st.sampled_from([1.0, 0.5]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([None, (), (5,), (1, 5), (1,), (2, 1), (2, 5)]),
)
MATMULS = st.sampled_from(
    [
        ("MatMul(x, w)", (2, 3), {"w": normal(3, 5)}, 5),
        ("MatMul(x, w)", (4, 2, 3), {"w": normal(3, 5)}, 5),
        ("MatMul(x, w)", (4, 2, 3), {"w": normal(4, 3, 5)}, 5),
        ("MatMul(x, w)", (2, 1, 2, 3), {"w": normal(4, 3, 5)}, 5),
        ("MatMul(w, x)", (3, 2), {"w": normal(5, 3)}, 5),
        ("MatMul(w, x)", (4, 3, 2), {"w": normal(4, 5, 3)}, 5),
    ]
)


def axes(node: str, rank: int) -> tuple[int, int]:
    """On which the channels of what it reads and of what it makes lie."""
    return (rank - 2, rank - 2) if node.startswith("MatMul(w") else (rank - 1,) * 2 if "MatMul" in node else (1, 1)


def model_of(case: Case) -> onnx.ModelProto:
    node, shape, weights, _ = case
    dims = ",".join(map(str, shape))
    return parse(f"g (float[{dims}] x) => (float[{','.join('ABCDE'[: len(shape)])}] y) {{ y = {node} }}", **weights)


def along(vector: Array, rank: int, axis: int = 1) -> Array:
    return vector.reshape([-1 if a == axis else 1 for a in range(rank)])


@settings(max_examples=60, deadline=None)
@given(CONVS | GEMMS | MATMULS)
def test_scaling_the_output_channels_is_scaling_the_output(case: Case) -> None:
    space, (text, shape, _, channels) = workspace(model_of(case)), case
    (node,), rank = space.graph.nodes, len(shape)
    assert output_axis(node) % rank == axes(text, rank)[1] and input_axis(node) % rank == axes(text, rank)[0]
    x = normal(*shape, seed=3)
    factor, shift = normal(channels, seed=4).astype(np.float64), normal(channels, seed=5).astype(np.float64)
    before = run(space, x=x)["y"]
    assert output_channels(node) == channels
    scale_output_channels(node, factor, shift, space.graph)
    made = axes(text, rank)[1] + before.ndim - rank
    wanted = before * along(factor, before.ndim, made) + along(shift, before.ndim, made)
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(CONVS | GEMMS | MATMULS)
def test_scaling_the_input_channels_is_scaling_the_input(case: Case) -> None:
    space, (text, shape, _, _) = workspace(model_of(case)), case
    (node,), rank, x = space.graph.nodes, len(shape), normal(*shape, seed=3)
    axis = axes(text, rank)[0]
    channels = input_channels(node)
    assert channels == shape[axis]
    factor, shift = normal(channels, seed=4).astype(np.float64), normal(channels, seed=5).astype(np.float64)
    if "ConvTranspose" in text:
        with pytest.raises(Declined, match="overlaps"):
            scale_input_channels(node, factor, shift, space.graph)
        shift = np.zeros(channels)
    moved = (x * along(factor, rank, axis) + along(shift, rank, axis)).astype(np.float32)
    wanted = run(space, x=moved)["y"]
    scale_input_channels(node, factor, shift, space.graph)
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("node", "shape", "weights", "reason"),
    [
        ("Conv(x, x)", (2, 2, 1, 1), {}, "weight is computed at run time"),
        ("MatMul(w, x)", (3,), {"w": normal(5, 3)}, "multiplies a vector"),
        ("MatMul(x, w)", (2, 2, 3), {"w": normal(3, 5)}, "no bias that could take the shift"),
        ("Gemm(x, w, x)", (3, 3), {"w": normal(3, 5)}, "bias is computed at run time"),
        ("Gemm(x, w)", (2, 3), {"w": np.full((3, 5), np.inf, np.float32)}, "weight holds NaN or infinity"),
        ("Gemm(x, w)", (2, 3), {"w": np.full((3, 5), 3e38, np.float32)}, "would not be finite in float32"),
        ("Gemm(x, w, b)", (2, 3), {"w": normal(3, 5), "b": np.full(5, np.nan, np.float32)}, "bias would not be finite"),
        ("Gemm(x, w)", (2, 4), {"w": normal(4, 6)}, "do not fit the [46] channels"),
    ],
)
def test_what_cannot_be_scaled_is_declined_and_unchanged(
    node: str, shape: tuple[int, ...], weights: dict[str, Any], reason: str
) -> None:
    space = workspace(model_of((node, shape, weights, 0)))
    before = space.model().SerializeToString(deterministic=True)
    for scale, channels in ((scale_output_channels, 5), (scale_input_channels, 3)):
        with pytest.raises(Declined, match=reason):
            scale(space.graph.nodes[0], np.full(channels, 2.0), np.ones(channels))
        assert space.model().SerializeToString(deterministic=True) == before


def test_what_is_not_finite_is_declined() -> None:
    (node,) = workspace(model_of(("Gemm(x, w)", (2, 3), {"w": normal(3, 5)}, 5))).graph.nodes
    with pytest.raises(Declined, match="not finite"):
        scale_output_channels(node, np.full(5, np.inf), np.zeros(5))


def test_a_transposed_activation_is_scaled_where_it_comes_out_alone() -> None:
    space = workspace(model_of(("Gemm<transA=1>(x, w)", (3, 2), {"w": normal(3, 5)}, 5)))
    (node,), x = space.graph.nodes, normal(3, 2)
    with pytest.raises(Declined, match="transposes the activation"):
        scale_input_channels(node, np.ones(3), np.zeros(3))
    wanted = 2 * run(space, x=x)["y"] + 1
    scale_output_channels(node, np.full(5, 2.0), np.ones(5))
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-5)


@pytest.mark.parametrize("total", ["Add(a, b)", "Add(b, a)"])
def test_a_matmul_gives_its_shift_to_the_sum_that_follows(total: str) -> None:
    text = f"g (float[4,2,3] x) => (float[4,2,5] y) {{ [m] a = MatMul(x, w) y = {total} }}"
    space = workspace(parse(text, w=normal(3, 5), b=normal(5)))
    scale_output_channels(space.graph.nodes[0], np.ones(5), np.full(5, 2.0), space.graph)
    assert ops(space) == ["MatMul", "Add"]
    x = normal(4, 2, 3)
    np.testing.assert_allclose(run(space, x=x)["y"], run(space.source, x=x)["y"] + 2, rtol=1e-5)


def test_a_factor_alone_leaves_a_matmul_one_and_a_shift_of_what_is_returned_adds_a_sum() -> None:
    text = "g (float[2,3] x) => (float[2,5] a, float[2,5] y) { [m] a = MatMul(x, w) y = Add(a, b) }"
    space = workspace(parse(text, w=normal(3, 5), b=normal(5)))
    scale_output_channels(space.graph.nodes[0], np.full(5, 2.0), np.zeros(5), space.graph)
    assert ops(space) == ["MatMul", "Add"]
    scale_output_channels(space.graph.nodes[0], np.ones(5), np.ones(5), space.graph)
    assert ops(space) == ["Gemm", "Add"]


@pytest.mark.parametrize("attrs", ["pads=[0,1,0,0]", 'auto_pad="SAME_UPPER"'])
def test_padding_stops_a_shift_of_the_input_but_not_a_scale(attrs: str) -> None:
    space = workspace(model_of((f"Conv<{attrs}>(x, w)", (2, 3, 4, 4), {"w": normal(5, 3, 2, 2)}, 5)))
    (node,), x, factor = space.graph.nodes, normal(2, 3, 4, 4), np.array([2.0, -1.0, 0.5])
    with pytest.raises(Declined, match="padding"):
        scale_input_channels(node, factor, np.ones(3))
    wanted = run(space, x=(x * along(factor, 4)).astype(np.float32))["y"]
    scale_input_channels(node, factor, np.zeros(3))
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-5, atol=1e-6)


def test_a_shared_weight_is_left_to_its_other_reader() -> None:
    space = workspace(parse("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Gemm(x, w, b) z = Gemm(x, w, b) }",
                            w=normal(3, 3), b=normal(3)))  # fmt: skip
    before = run(space, x=normal(2, 3))
    scale_output_channels(space.graph.nodes[0], np.full(3, 2.0), np.ones(3))
    after = run(space, x=normal(2, 3))
    np.testing.assert_array_equal(after["z"], before["z"])
    np.testing.assert_allclose(after["y"], 2 * before["y"] + 1, rtol=1e-5)


def test_a_new_constant_takes_no_name_that_is_taken() -> None:
    text = """g (float[2,3] x) => (float[2,3] y, float[2,3] z, float[2,3] u) {
        [one] y = Gemm(x, w) [two] z = Gemm(x, w) [three] u = Add(x, one_weight) }"""
    model = parse(text.replace("one_weight", "c"), w=normal(3, 3), c=normal(3, seed=5))
    model.graph.initializer[1].name = model.graph.node[2].input[1] = "one/weight"
    space = workspace(model)
    scale_output_channels(space.graph.nodes[0], np.full(3, 2.0), np.ones(3), space.graph)
    onnx.checker.check_model(space.model(), full_check=True)
    x = normal(2, 3)
    before, after = run(space.source, x=x), run(space, x=x)
    np.testing.assert_allclose(after["y"], 2 * before["y"] + 1, rtol=1e-5)
    assert np.array_equal(after["z"], before["z"]) and np.array_equal(after["u"], before["u"])


def test_a_weight_keeps_its_dtype() -> None:
    model = parse("g (double[2,3] x) => (double[2,3] y) { y = Gemm(x, w) }", w=np.eye(3))
    space = workspace(model)
    scale_output_channels(space.graph.nodes[0], np.full(3, 2.0), np.ones(3))
    assert [tensor.data_type for tensor in space.model().graph.initializer] == [onnx.TensorProto.DOUBLE] * 2
    np.testing.assert_array_equal(per_channel(space.graph.nodes[0].inputs[2].values, 3), np.ones(3))
