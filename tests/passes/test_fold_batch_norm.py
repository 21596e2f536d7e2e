"""A batch norm disappears into the layer before it, or the one after."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import FoldBatchNorm
from onnxq.proof import Proof, rewrite
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace
from onnxq.workspace import Workspace


def norm(channels: int, seed: int = 9) -> dict[str, Any]:
    """gamma, beta, mean and variance."""
    rows = normal(4, channels, seed=seed)
    return {"g": rows[0], "b": rows[1], "m": rows[2], "v": np.abs(rows[3]) + np.array(0.1, np.float32)}


BN = "BatchNormalization<epsilon=0.01>"
AFTER = {
    "conv": ("Conv<pads=[1,1,1,1]>(x, w)", (2, 3, 5, 5), (4, 3, 3, 3), 4),
    "depthwise": ("Conv<group=3>(x, w)", (2, 3, 5, 5), (3, 1, 3, 3), 3),
    "grouped 1-d": ("Conv<group=2>(x, w)", (2, 4, 5), (6, 2, 3), 6),
    "3-d": ("Conv(x, w)", (1, 2, 4, 4, 4), (3, 2, 2, 2, 2), 3),
    "transposed": ("ConvTranspose<strides=[2,2]>(x, w)", (2, 3, 5, 5), (3, 4, 2, 2), 4),
    "transposed grouped": ("ConvTranspose<group=2>(x, w)", (2, 4, 5, 5), (4, 3, 2, 2), 6),
    "gemm": ("Gemm<alpha=0.5>(x, w)", (2, 3), (3, 4), 4),
    "gemm transposed": ("Gemm<transB=1, beta=0.5>(x, w, c)", (2, 3), (4, 3), 4),
    "matmul": ("MatMul(x, w)", (2, 3), (3, 4), 4),
}
BEFORE = {
    "conv": ("Conv(a, w)", (2, 3, 5, 5), (4, 3, 3, 3)),
    "depthwise": ("Conv<group=3>(a, w)", (2, 3, 5, 5), (3, 1, 3, 3)),
    "grouped 1-d": ("Conv<group=2>(a, w)", (2, 4, 5), (6, 2, 3)),
    "gemm": ("Gemm<alpha=0.5, beta=2.0>(a, w, c)", (2, 3), (3, 4)),
    "gemm without bias": ("Gemm<alpha=0.5, beta=0.0, transB=1>(a, w)", (2, 3), (4, 3)),
    "matmul": ("MatMul(a, w)", (2, 3), (3, 4)),
}


def text(body: str, shape: tuple[int, ...]) -> str:
    return f"g (float[{','.join(map(str, shape))}] x) => (float[{','.join('ABCDE'[: len(shape)])}] y) {{ {body} }}"


def check(space: Workspace, shape: tuple[int, ...]) -> None:
    before = run(space, x=normal(*shape))["y"]
    assert rewrite(space, FoldBatchNorm(), Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, x=normal(*shape))["y"], before, rtol=1e-4, atol=1e-5)
    assert changes_nothing(space, FoldBatchNorm())
    assert [value.name for value in space.model().graph.output] == ["y"]


@pytest.mark.parametrize("name", AFTER)
def test_after_a_layer(name: str) -> None:
    node, shape, weight, channels = AFTER[name]
    body = f"[layer] a = {node} [norm] y = {BN}(a, g, b, m, v)"
    arrays = {"w": normal(*weight), **norm(channels), **({"c": normal(1, channels)} if ", c)" in node else {})}
    space = workspace(parse(text(body, shape), **arrays))
    check(space, shape)
    assert ops(space) == ["Gemm" if name == "matmul" else node.partition("(")[0].partition("<")[0]]


@pytest.mark.parametrize("name", BEFORE)
def test_before_a_layer(name: str) -> None:
    node, shape, weight = BEFORE[name]
    body = f"[norm] a = {BN}(x, g, b, m, v) [layer] y = {node}"
    arrays = {"w": normal(*weight), **norm(shape[1]), **({"c": normal(4)} if ", c)" in node else {})}
    space = workspace(parse(text(body, shape), **arrays))
    check(space, shape)
    assert len(ops(space)) == 1


def test_a_shift_of_nothing_goes_through_padding() -> None:
    shape = (2, 3, 5, 5)
    arrays = {"w": normal(4, 3, 3, 3), **norm(3)}
    arrays |= {"b": np.zeros(3, np.float32), "m": np.zeros(3, np.float32)}
    body = f"[norm] a = {BN}(x, g, b, m, v) [layer] y = Conv<pads=[1,1,1,1]>(a, w)"
    space = workspace(parse(text(body, shape), **arrays))
    check(space, shape)
    assert ops(space) == ["Conv"]


BAD = {"v": np.full(4, -1, np.float32)}


@pytest.mark.parametrize(
    ("body", "reason", "other"),
    [
        (f"[n] a = {BN}(x, g, b, m, v) [c] y = Conv<pads=[1,1,1,1]>(a, w)", "padding", {}),
        (f'[n] a = {BN}(x, g, b, m, v) [c] y = Conv<auto_pad="SAME_LOWER">(a, w)', "padding", {}),
        (f"[n] a = {BN}(x, g, b, m, v) [c] y = ConvTranspose(a, w)", "overlaps", {}),
        (f"[n] a = {BN}(x, g, b, m, v) [r] y = Relu(a)", "no layer to fold into", {}),
        (f"[c] a = Conv(x, w) [n] b1 = {BN}(a, g, b, m, v) [add] y = Add(a, b1)", "no layer to fold into", {}),
        (f"[n] a = {BN}(x, g, b, m, v) [c] c = Conv(a, w) [s] s = ReduceSum(a) [add] y = Add(c, s)",
         "no layer to fold into", {}),
        (f"[c] a = Conv(x, w) [r] k = Abs(g) [n] y = {BN}(a, k, b, m, v)", "scale is computed at run time", {}),
        (f"[c] a = Conv(x, x) [n] y = {BN}(a, g, b, m, v)", "weight is computed at run time", {}),
        (f"[c] a = Conv(x, w) [n] y = {BN}(a, g, b, m, v)", "variance is not positive", BAD),
        ("[c] a = Conv(x, w) [n] y = BatchNormalization<training_mode=1>(a, g, b, m, v)", "training mode", {}),
        ("[c] a = Conv(x, w) [n] y, m2, v2 = BatchNormalization<training_mode=1>(a, g, b, m, v)", "training mode", {}),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_stays_and_says_why(body: str, reason: str, other: dict[str, Any]) -> None:
    space = workspace(parse(text(body, (4, 4, 3, 3)), **{"w": normal(4, 4, 3, 3), **norm(4), **other}))
    assert changes_nothing(space, FoldBatchNorm())
    (entry,) = space.ledger.entries
    assert (entry.kind, entry.subject, entry.op_type) == ("declined", "n", "BatchNormalization")
    assert reason in entry.reason


def test_a_layer_whose_output_the_model_returns_is_left_alone() -> None:
    graph = f"g (float[2,4,3,3] x) => (float[2,4,1,1] a, float[2,4,1,1] y) {{ a = Conv(x, w) y = {BN}(a, g, b, m, v) }}"
    space = workspace(parse(graph, w=normal(4, 4, 3, 3), **norm(4)))
    assert changes_nothing(space, FoldBatchNorm())


def test_weights_shared_with_another_layer_are_not_touched() -> None:
    graph = f"""g (float[2,4,3,3] x) => (float[2,4,1,1] y, float[2,4,1,1] z) {{
        [one] a = Conv(x, w, c) y = {BN}(a, g, b, m, v) [two] z = Conv(x, w, c) }}"""
    space = workspace(parse(graph, w=normal(4, 4, 3, 3), c=normal(4), **norm(4)))
    before = run(space, x=normal(2, 4, 3, 3))
    assert FoldBatchNorm()(space)
    after = run(space, x=normal(2, 4, 3, 3))
    np.testing.assert_array_equal(after["z"], before["z"])
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-4, atol=1e-5)


def test_a_norm_over_tokens_is_not_one_over_channels() -> None:
    graph = f"g (float[2,4,4] x) => (float[2,4,4] y) {{ [m1] a = MatMul(x, w) [n] y = {BN}(a, g, b, m, v) }}"
    space = workspace(parse(graph, w=normal(4, 4), **norm(4)))
    assert changes_nothing(space, FoldBatchNorm())
    assert "not two-dimensional" in space.ledger.of("declined")[0].reason
