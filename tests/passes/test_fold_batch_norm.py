"""A batch norm disappears into the layer before it, or the one after."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import FoldBatchNorm
from onnxq.proof import Proof, rewrite
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
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
    "gemm of rows": ("Gemm(x, w, c)", (2, 3), (3, 4), 4),
    "matmul": ("MatMul(x, w)", (2, 3), (3, 4), 4),
    "matmul and bias": ("t = MatMul(x, w) a = Add(c, t)", (2, 3), (3, 4), 4),
    "matmul on the left": ("MatMul(w, x)", (2, 3, 5), (4, 3), 4),
    "through transpose": ("t = MatMul(x, w) a = Transpose<perm=[0,2,1]>(t)", (2, 5, 3), (3, 4), 4),
    "through transpose and bias": (
        "u = MatMul(x, w) t = Add(u, c) a = Transpose<perm=[0,2,1]>(t)", (2, 5, 3), (3, 4), 4,
    ),
    "through reshape": ("t = Conv(x, w) a = Reshape(t, flat)", (2, 3, 5, 5), (4, 3, 3, 3), 4),
    "through flatten": ("t = Conv(x, w) a = Flatten(t)", (2, 3, 3, 3), (4, 3, 3, 3), 4),
    "through views": (
        "t = Conv(x, w) u = Identity(t) s = Squeeze(u, last) a = Unsqueeze(s, last)", (2, 3, 5), (4, 3, 5), 4,
    ),
}  # fmt: skip
BEFORE = {
    "conv": ("Conv(a, w)", (2, 3, 5, 5), (4, 3, 3, 3)),
    "depthwise": ("Conv<group=3>(a, w)", (2, 3, 5, 5), (3, 1, 3, 3)),
    "grouped 1-d": ("Conv<group=2>(a, w)", (2, 4, 5), (6, 2, 3)),
    "gemm": ("Gemm<alpha=0.5, beta=2.0>(a, w, c)", (2, 3), (3, 4)),
    "gemm without bias": ("Gemm<alpha=0.5, beta=0.0, transB=1>(a, w)", (2, 3), (4, 3)),
    "conv transposed": ("ConvTranspose<group=3>(a, w)", (2, 3, 5, 5), (3, 2, 2, 2)),
    "matmul": ("MatMul(a, w)", (2, 3), (3, 4)),
    "matmul on the left": ("MatMul(w, a)", (2, 3, 5), (4, 3)),
    "through transpose": ("t = Transpose<perm=[0,2,1]>(a) y = MatMul(t, w)", (2, 3, 5), (3, 4)),
    "through flatten": ("t = Flatten(a) y = Gemm(t, w)", (2, 3, 2, 2), (12, 4)),
    "through reshape": ("t = Reshape(a, flat) y = Conv(t, w)", (2, 3, 5, 5), (4, 3, 3)),
    "by two layers": ("t = Conv(a, w) u = Conv(a, w) y = Add(t, u)", (2, 3, 5, 5), (4, 3, 3, 3)),
}
GIVEN: dict[str, Any] = {"flat": np.array([0, 0, -1]), "last": np.array([2])}


def text(body: str, shape: tuple[int, ...]) -> str:
    rank = 2 if "Flatten" in body else 3 if "flat)" in body else len(shape)
    return f"g (float[{','.join(map(str, shape))}] x) => (float[{','.join('ABCDE'[:rank])}] y) {{ {body} }}"


def built(body: str, shape: tuple[int, ...], opset: int = 17, **arrays: Any) -> Workspace:
    """Of these constants, those that are read."""
    return workspace(parse(text(body, shape), opset, **{name: arrays[name] for name in arrays if reads(body, name)}))


def check(space: Workspace, shape: tuple[int, ...]) -> None:
    before = run(space, x=normal(*shape))["y"]
    assert rewrite(space, FoldBatchNorm(), Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, x=normal(*shape))["y"], before, rtol=1e-4, atol=1e-5)
    assert changes_nothing(space, FoldBatchNorm())
    assert [value.name for value in space.model().graph.output] == ["y"]


@pytest.mark.parametrize("name", AFTER)
def test_after_a_layer(name: str) -> None:
    node, shape, weight, channels = AFTER[name]
    body = f"{node if ' = ' in node else f'a = {node}'} y = {BN}(a, g, b, m, v)"
    row = normal(*((2, 4) if name == "gemm of rows" else (1, channels) if len(shape) == 2 else (channels,)))
    space = built(body, shape, w=normal(*weight), c=row, **GIVEN, **norm(channels))
    had = [op for op in ops(space) if op != "BatchNormalization"]
    check(space, shape)
    added = {
        "matmul": ["Gemm"],
        "matmul on the left": ["MatMul", "Add"],
        "through transpose": [had[0], "Add", *had[1:]],
    }
    assert ops(space) == added.get(name, had)
    np.testing.assert_array_equal(space.normals["y"].mean, norm(channels)["b"])
    np.testing.assert_allclose(space.normals["y"].std, np.abs(norm(channels)["g"]), rtol=1e-6)


@pytest.mark.parametrize("name", BEFORE)
def test_before_a_layer(name: str) -> None:
    node, shape, weight = BEFORE[name]
    body = f"a = {BN}(x, g, b, m, v) {node if ' = ' in node else f'y = {node}'}"
    space = built(body, shape, w=normal(*weight), c=normal(4), **GIVEN, **norm(shape[1]))
    had = [op for op in ops(space) if op != "BatchNormalization"]
    check(space, shape)
    added = {
        "conv transposed": ["Add", *had], "matmul": ["Gemm"], "matmul on the left": [*had, "Add"],
        "through transpose": [*had, "Add"],
    }  # fmt: skip
    assert ops(space) == added.get(name, had)
    assert not space.normals


def test_a_shift_of_nothing_goes_through_padding() -> None:
    shape = (2, 3, 5, 5)
    arrays = {"w": normal(4, 3, 3, 3), **norm(3)}
    arrays |= {"b": np.zeros(3, np.float32), "m": np.zeros(3, np.float32)}
    body = f"[norm] a = {BN}(x, g, b, m, v) [layer] y = Conv<pads=[1,1,1,1]>(a, w)"
    space = workspace(parse(text(body, shape), **arrays))
    check(space, shape)
    assert ops(space) == ["Conv"]


@pytest.mark.parametrize("pads", ["pads=[1,1,1,1]", 'auto_pad="SAME_LOWER"'])
def test_padding_is_not_shifted_but_takes_the_factor(pads: str) -> None:
    shape = (2, 3, 5, 5)
    space = built(f"a = {BN}(x, g, b, m, v) y = Conv<{pads}>(a, w)", shape, w=normal(4, 3, 3, 3), **norm(3))
    check(space, shape)
    assert ops(space) == ["Add", "Conv"]


def test_a_factor_of_zero_leaves_nothing_to_take_the_shift_from() -> None:
    shape, given = (2, 3, 5, 5), norm(3)
    given["g"][1] = 0
    space = built(f"a = {BN}(x, g, b, m, v) y = Conv<pads=[1,1,1,1]>(a, w)", shape, w=normal(4, 3, 3, 3), **given)
    check(space, shape)
    assert ops(space) == ["Mul", "Add", "Conv"]
    assert any("factor of 0" in entry.reason for entry in space.ledger.of("changed"))
    space = built(f"a = Conv(x, w) y = {BN}(a, g, b, m, v)", shape, w=normal(3, 3, 3, 3), **given)
    check(space, shape)
    assert ops(space) == ["Conv"]


@pytest.mark.parametrize(
    ("body", "reason", "left"),
    [
        (f"a = {BN}(x, g, b, m, v) y = Relu(a)", "no layer to fold into", ["Mul", "Add", "Relu"]),
        (f"a = Conv(x, w) b1 = {BN}(a, g, b, m, v) y = Add(a, b1)", "no layer", ["Conv", "Mul", "Add", "Add"]),
        (f"a = {BN}(x, g, b, m, v) c = Conv(a, w) s = ReduceSum(a) y = Add(c, s)",
         "no layer", ["Mul", "Add", "Conv", "ReduceSum", "Add"]),
        (f"a = Conv(x, x) y = {BN}(a, g, b, m, v)", "weight is computed at run time", ["Conv", "Mul", "Add"]),
        (f"a = Conv(x, big) y = {BN}(a, g, b, m, v)", "would not be finite", ["Conv", "Mul", "Add"]),
        (f"a = Conv(x, nan) y = {BN}(a, g, b, m, v)", "NaN or infinity", ["Conv", "Mul", "Add"]),
        (f"a = MatMul(x, rows) y = {BN}(a, g, b, m, v)", "lie on axis 1, those of", ["MatMul", "Mul", "Add"]),
    ],
)  # fmt: skip
def test_what_no_layer_takes_is_written_out_and_says_why(body: str, reason: str, left: list[str]) -> None:
    shape: tuple[int, ...] = (4, 4, 3, 3)
    weights: dict[str, Any] = {"w": normal(4, 4, 3, 3), "rows": normal(3, 3)}
    weights |= {"big": np.full((4, 4, 3, 3), 3e38, np.float32), "nan": np.full((4, 4, 1, 1), np.nan, np.float32)}
    given: dict[str, Any] = {**norm(4), "g": 3 + normal(4)}
    space = built(body, shape, **weights, **given)
    with np.errstate(all="ignore"):
        before = run(space, x=normal(*shape, scale=1e-3))["y"]
        assert FoldBatchNorm()(space)
        np.testing.assert_allclose(run(space, x=normal(*shape, scale=1e-3))["y"], before, rtol=1e-4, atol=1e-5)
    assert ops(space) == left
    assert reason in space.ledger.of("changed")[0].reason
    assert changes_nothing(space, FoldBatchNorm())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "negative variance": ({"v": np.full(4, -1, np.float32)}, "variance is not positive"),
    "infinite variance": ({"v": np.full(4, np.inf, np.float32)}, "variance holds NaN or infinity"),
    "infinite mean": ({"m": np.full(4, -np.inf, np.float32)}, "mean holds NaN or infinity"),
    "no scale": ({"g": np.full(4, np.nan, np.float32)}, "scale holds NaN or infinity"),
}


@pytest.mark.parametrize("name", BAD)
def test_numbers_that_are_no_statistics_are_declined(name: str) -> None:
    other, reason = BAD[name]
    declined(f"a = Conv(x, w) [n] y = {BN}(a, g, b, m, v)", reason, **other)


@pytest.mark.parametrize("variance", [0.0, 1e-40])
def test_a_variance_next_to_nothing_needs_an_epsilon(variance: float) -> None:
    other = {"v": np.full(4, variance, np.float32)}
    space = built(f"a = Conv(x, w) y = {BN}(a, g, b, m, v)", (2, 4, 3, 3), **{**norm(4), **other}, w=normal(4, 4, 3, 3))
    check(space, (2, 4, 3, 3))
    none = "a = Conv(x, w) [n] y = BatchNormalization<epsilon=0.0>(a, g, b, m, v)"
    declined(none, "not positive" if variance == 0 else "so small that engines take it for zero", **other)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"a = Conv(x, w) [r] k = Abs(x1) [n] y = {BN}(a, k, b, m, v)", "scale is computed at run time"),
        ("a = Conv(x, w) [n] y = BatchNormalization<training_mode=1>(a, g, b, m, v)", "training mode"),
        ("a = Conv(x, w) [n] y, m2, v2 = BatchNormalization<training_mode=1>(a, g, b, m, v)", "training mode"),
    ],
)
def test_a_norm_that_learns_or_is_computed_is_declined(body: str, reason: str) -> None:
    declined(body.replace("Abs(x1)", "ReduceMax<axes=[0,2,3], keepdims=0>(x)"), reason)


def declined(body: str, reason: str, **other: Any) -> None:
    space = built(body, (4, 4, 3, 3), **{"w": normal(4, 4, 3, 3), **norm(4), **other})
    assert changes_nothing(space, FoldBatchNorm())
    (entry,) = space.ledger.entries
    assert (entry.kind, entry.subject, entry.op_type) == ("declined", "n", "BatchNormalization")
    assert reason in entry.reason


def test_channels_that_are_all_zero_stay_zero() -> None:
    weights = {"w": np.zeros((3, 3, 3, 3), np.float32), **norm(3), "g": np.zeros(3, np.float32)}
    space = built(f"a = Conv(x, w) y = {BN}(a, g, b, m, v)", (2, 3, 5, 5), **weights)
    check(space, (2, 3, 5, 5))
    assert ops(space) == ["Conv"]


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 22])
def test_every_opset(opset: int) -> None:
    shape, body = (2, 3, 5, 5), "a = Conv(x, w) c = BatchNormalization(a, g, b, m, v) d = Relu(c) y = Conv(d, w)"
    space = built(body, shape, opset, w=normal(3, 3, 1, 1), **norm(3))
    check(space, shape)
    assert ops(space) == ["Conv", "Relu", "Conv"]


def test_a_layer_whose_output_the_model_returns_is_left_alone() -> None:
    graph = f"g (float[2,4,3,3] x) => (float[2,4,1,1] a, float[2,4,1,1] y) {{ a = Conv(x, w) y = {BN}(a, g, b, m, v) }}"
    space = workspace(parse(graph, w=normal(4, 4, 3, 3), **norm(4)))
    before, x = run(space, x=normal(2, 4, 3, 3)), normal(2, 4, 3, 3)
    assert FoldBatchNorm()(space) and ops(space) == ["Conv", "Mul", "Add"]
    np.testing.assert_array_equal(run(space, x=x)["a"], before["a"])
    np.testing.assert_allclose(run(space, x=x)["y"], before["y"], rtol=1e-4, atol=1e-5)


def test_weights_shared_with_another_layer_are_not_touched() -> None:
    graph = f"""g (float[2,4,3,3] x) => (float[2,4,1,1] y, float[2,4,1,1] z) {{
        [one] a = Conv(x, w, c) y = {BN}(a, g, b, m, v) [two] z = Conv(x, w, c) }}"""
    space = workspace(parse(graph, w=normal(4, 4, 3, 3), c=normal(4), **norm(4)))
    before = run(space, x=normal(2, 4, 3, 3))
    assert FoldBatchNorm()(space)
    after = run(space, x=normal(2, 4, 3, 3))
    np.testing.assert_array_equal(after["z"], before["z"])
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-4, atol=1e-5)
