"""Products and sums with constants disappear into the layers beside them."""

from typing import Any

import numpy as np
import pytest

from onnxq.normal import Normal
from onnxq.passes import FoldScale
from onnxq.proof import Proof, rewrite
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
from onnxq.workspace import Workspace

CONSTANTS: dict[str, Any] = {
    "w": normal(3, 3, 3, 3),
    "k": np.array([2.0, -0.5, 3.0], np.float32).reshape(3, 1, 1),
    "s": normal(1, 3, 1, 1, seed=2),
    "two": np.array(2, np.float32),
    "zero": np.array(0, np.float32),
    "m": normal(5, 3),
    "v": normal(3, seed=4),
    "whole": normal(1, 3, 5, 5),
    "flat": np.array([0, -1]),
    "rows": normal(27, 4),
}
IMAGE, SAME = (2, 3, 5, 5), "pads=[1,1,1,1]"


def built(body: str, shape: tuple[int, ...] = IMAGE, rank: int | None = None) -> Workspace:
    dims = ",".join(map(str, shape))
    text = f"g (float[{dims}] x) => (float[{','.join('ABCDE'[: rank or len(shape)])}] y) {{ {body} }}"
    return workspace(parse(text, **{name: array for name, array in CONSTANTS.items() if reads(body, name)}))


def check(space: Workspace, shape: tuple[int, ...] = IMAGE) -> list[str]:
    """What is left, having proved that it computes the same."""
    x = normal(*shape)
    before = run(space, x=x)["y"]
    assert rewrite(space, FoldScale(), Proof(space.source, space.samples))
    np.testing.assert_allclose(run(space, x=x)["y"], before, rtol=1e-4, atol=1e-5)
    assert changes_nothing(space, FoldScale())
    return ops(space)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Conv(x, w) y = Mul(a, k)", ["Conv"]),
        ("a = Conv(x, w) y = Mul(k, a)", ["Conv"]),
        ("a = Conv(x, w) y = Div(a, two)", ["Conv"]),
        ("a = Conv(x, w) y = Sub(s, a)", ["Conv"]),
        ("a = Conv(x, w) b = Sub(a, s) c = Mul(b, k) d = Add(c, two) y = Div(d, k)", ["Conv"]),
        ("a = Conv(x, w) b = Identity(a) c = Mul(b, k) y = Relu(c)", ["Conv", "Identity", "Relu"]),
        ("a = ConvTranspose(x, w) y = Add(a, s)", ["ConvTranspose"]),
        ("a = Mul(x, k) y = Conv(a, w)", ["Conv"]),
        ("r = Relu(x) a = Sub(r, s) b = Div(a, k) y = Conv(b, w)", ["Relu", "Conv"]),
        ("a = Sub(x, s) b = Div(a, k) y = Conv(b, w)", ["Sub", "Conv"]),
        (f"a = Sub(x, s) b = Div(a, k) y = Conv<{SAME}>(b, w)", ["Sub", "Conv"]),
        (f"a = Mul(x, k) b = Add(a, s) y = Conv<{SAME}>(b, w)", ["Add", "Conv"]),
        ("a = Mul(x, k) b = Add(a, s) c = Sub(b, s) d = Mul(c, two) y = Relu(d)", ["Mul", "Relu"]),
        ("a = Mul(x, k) b = Conv(a, w) c = Conv(a, w) y = Add(b, c)", ["Conv", "Conv", "Add"]),
        ("a = Relu(x) b = Mul(a, k) c = Add(b, whole) y = Conv(c, w)", ["Relu", "Add", "Conv"]),
        ("a = Conv(x, w) b = Mul(a, k) c = Flatten(b) d = Mul(c, two) y = Gemm(d, rows)", ["Conv", "Flatten", "Gemm"]),
    ],
)
def test_on_images(body: str, left: list[str]) -> None:
    assert check(built(body, rank=2 if "Gemm" in body else None)) == left


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = MatMul(x, m) y = Mul(a, v)", ["MatMul"]),
        ("a = MatMul(x, m) b = Add(a, v) y = Mul(b, two)", ["MatMul", "Add"]),
        ("a = MatMul(x, m) b = Add(v, a) c = Mul(b, v) y = Sub(c, v)", ["MatMul", "Add"]),
        ("a = MatMul(x, m) b = Add(a, v) c = Transpose(b) y = Mul(c, two)", ["MatMul", "Add", "Transpose"]),
        ("a = Mul(x, two) b = MatMul(a, m) y = Add(b, v)", ["MatMul", "Add"]),
        ("r = Relu(x) a = Add(r, two) b = MatMul(a, m) y = Add(b, v)", ["Relu", "MatMul", "Add"]),
    ],
)
def test_on_tokens(body: str, left: list[str]) -> None:
    assert check(built(body, (2, 4, 5)), (2, 4, 5)) == left


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w) b = Mul(a, k) y = Add(a, b)",  # another reader
        "a = Relu(x) b = Mul(a, k) c = Conv(b, w) d = ReduceSum(b) y = Add(c, d)",
        "a = Relu(x) b = Add(a, whole) y = Conv(b, w)",  # not per channel
        "a = Relu(x) b = Mul(a, k) y = Relu(b)",
        "a = Conv(x, w) b = Sigmoid(a) c = Mul(a, b) d = Div(c, two) y = Conv(d, w)",  # ends a function
        "a = Relu(x) y = Div(two, a)",
        "a = Conv(x, x) y = Mul(a, two)",
        "a = Conv(x, w) y = Div(a, zero)",
    ],
)
def test_what_has_no_layer_of_its_own_stays(body: str) -> None:
    assert changes_nothing(built(body), FoldScale())


def test_the_bias_of_a_matmul_stays_where_it_is() -> None:
    assert changes_nothing(built("a = MatMul(x, m) y = Add(a, v)", (2, 4, 5)), FoldScale())


def test_pixels_in_integers_keep_their_factor() -> None:
    text = """g (uint8[2,5,5,3] x) => (float[A,B,C,D] y) { a = Cast<to=1>(x) b = Transpose<perm=[0,3,1,2]>(a)
        c = Div(b, two) y = Conv(c, w) }"""
    assert changes_nothing(workspace(parse(text, w=CONSTANTS["w"], two=CONSTANTS["two"])), FoldScale())


def test_outputs_in_the_middle_keep_their_values() -> None:
    text = "g (float[2,3,5,5] x) => (float[A,B,C,D] a, float[A,B,C,D] y) { a = Conv(x, w) y = Mul(a, k) }"
    assert changes_nothing(workspace(parse(text, w=CONSTANTS["w"], k=CONSTANTS["k"])), FoldScale())


def test_why_a_layer_does_not_take_it_is_said() -> None:
    space = built(f"r = Relu(x) [s] a = Sub(r, s) y = Conv<{SAME}>(a, w)")
    assert changes_nothing(space, FoldScale())
    (entry,) = space.ledger.of("declined")
    assert (entry.subject, entry.op_type) == ("s", "Sub") and "zero padding" in entry.reason


def test_what_a_norm_told_is_scaled_with_the_tensor() -> None:
    space = built("a = Conv(x, w) y = Mul(a, k)")
    space.normals["a"] = Normal(np.ones(3), np.ones(3))
    assert FoldScale()(space)
    assert space.normals.keys() == {"y"}
    np.testing.assert_allclose(space.normals["y"].mean, CONSTANTS["k"].ravel())
    np.testing.assert_allclose(space.normals["y"].std, np.abs(CONSTANTS["k"].ravel()))
