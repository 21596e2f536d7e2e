"""Scaling channels through a layer's weight is the same as scaling its input or its output."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.channels import output_channels, scale_input_channels, scale_output_channels
from onnxq.errors import Declined
from onnxq.graph import per_channel
from onnxq.testing import Array, normal, parse, run, workspace

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
    st.sampled_from([None, (5,), (1, 5), (1,)]),
)
MATMUL = st.just(("MatMul(x, w)", (2, 3), {"w": normal(3, 5)}, 5))


def model_of(case: Case) -> onnx.ModelProto:
    node, shape, weights, _ = case
    dims = ",".join(map(str, shape))
    return parse(f"g (float[{dims}] x) => (float[{','.join('ABCDE'[: len(shape)])}] y) {{ y = {node} }}", **weights)


def along(vector: Array, rank: int) -> Array:
    return vector.reshape(1, -1, *[1] * (rank - 2))


@settings(max_examples=60, deadline=None)
@given(CONVS | GEMMS | MATMUL)
def test_scaling_the_output_channels_is_scaling_the_output(case: Case) -> None:
    space, (_, shape, _, channels) = workspace(model_of(case)), case
    (node,) = space.graph.nodes
    x = normal(*shape, seed=3)
    factor, shift = normal(channels, seed=4).astype(np.float64), normal(channels, seed=5).astype(np.float64)
    before = run(space, x=x)["y"]
    assert output_channels(node) == channels
    scale_output_channels(node, factor, shift)
    wanted = before * along(factor, len(shape)) + along(shift, len(shape))
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(CONVS.filter(lambda case: "Transpose" not in case[0]) | GEMMS | MATMUL)
def test_scaling_the_input_channels_is_scaling_the_input(case: Case) -> None:
    space, (_, shape, _, _) = workspace(model_of(case)), case
    x = normal(*shape, seed=3)
    factor, shift = normal(shape[1], seed=4).astype(np.float64), normal(shape[1], seed=5).astype(np.float64)
    moved = (x * along(factor, len(shape)) + along(shift, len(shape))).astype(np.float32)
    wanted = run(space, x=moved)["y"]
    scale_input_channels(space.graph.nodes[0], factor, shift)
    np.testing.assert_allclose(run(space, x=x)["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("node", "shape", "weights", "reason"),
    [
        ("Conv(x, x)", (2, 2, 1, 1), {}, "weight is computed at run time"),
        ("Gemm<transA=1>(x, w)", (3, 2), {"w": normal(3, 5)}, "transposes the activation"),
        ("MatMul(w, x)", (3, 2), {"w": normal(5, 3)}, "plain matrix on the right"),
        ("MatMul(x, w)", (4, 2, 3), {"w": normal(4, 3, 5)}, "plain matrix on the right"),
        ("MatMul(x, w)", (4, 2, 3), {"w": normal(3, 5)}, "not two-dimensional"),
        ("Gemm(x, w, b)", (5, 3), {"w": normal(3, 5), "b": normal(5, 1)}, "not one number per channel"),
        ("Gemm(x, w, x)", (3, 3), {"w": normal(3, 5)}, "bias is computed at run time"),
    ],
)
def test_what_cannot_be_scaled_is_declined_and_unchanged(
    node: str, shape: tuple[int, ...], weights: dict[str, Any], reason: str
) -> None:
    space = workspace(model_of((node, shape, weights, 0)))
    before = space.model().SerializeToString(deterministic=True)
    for scale, channels in ((scale_output_channels, 5), (scale_input_channels, 3)):
        with pytest.raises(Declined, match=reason):
            scale(space.graph.nodes[0], np.ones(channels), np.ones(channels))
        assert space.model().SerializeToString(deterministic=True) == before


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


def test_a_weight_keeps_its_dtype() -> None:
    model = parse("g (double[2,3] x) => (double[2,3] y) { y = Gemm(x, w) }", w=np.eye(3))
    space = workspace(model)
    scale_output_channels(space.graph.nodes[0], np.full(3, 2.0), np.ones(3))
    assert [tensor.data_type for tensor in space.model().graph.initializer] == [onnx.TensorProto.DOUBLE] * 2
    np.testing.assert_array_equal(per_channel(space.graph.nodes[0].inputs[2].values, 3), np.ones(3))
