"""Padding becomes an attribute of the layers that read it."""

import numpy as np
import pytest

from onnxq.passes import FusePad
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
from onnxq.workspace import Workspace

CONSTANTS = {
    "w": normal(4, 2, 3, 3),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "wide": np.array([0, 0, 3, 3, 0, 0, 3, 3]),
    "channels": np.array([0, 1, 1, 2, 0, 0, 0, 1]),
    "less": np.array([0, 0, 1, -1, 0, 0, 0, 1]),
    "some": np.array([1, 2, 0, 1]),
    "last": np.array([2, -1]),
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "axes": np.array([2, 3]),
}
POOL = "kernel_shape=[3,3]"


def built(body: str, opset: int = 18) -> Workspace:
    text = f"g (float[2,2,6,6] x) => (float[A,B,C,D] y) {{ {body} }}"
    return workspace(parse(text, opset, **{name: array for name, array in CONSTANTS.items() if reads(body, name)}))


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Pad(x, pads) y = Conv(a, w)", ["Conv"]),
        ("a = Pad(x, pads, zero) y = Conv<pads=[1,0,2,0], strides=[2,2]>(a, w)", ["Conv"]),
        ('a = Pad(x, some, , last) y = Conv<auto_pad="VALID">(a, w)', ["Conv"]),
        ("a = Pad(x, pads) b = Conv(a, w) c = Conv(a, w) y = Add(b, c)", ["Conv", "Conv", "Add"]),
        (f"a = Pad(x, pads) y = AveragePool<{POOL}>(a)", ["AveragePool"]),
        (f"a = Pad(x, pads) y = AveragePool<{POOL}, pads=[1,0,1,0], count_include_pad=1>(a)", ["AveragePool"]),
        (f"r = Relu(x) a = Pad(r, pads) y = MaxPool<{POOL}, strides=[2,2]>(a)", ["Relu", "MaxPool"]),
        (f"r = Clip(x, zero) a = Pad(r, pads) y = MaxPool<{POOL}>(a)", ["Clip", "MaxPool"]),
        ("p = Pad(x, pads) a = Pad(p, pads) y = Conv(a, w)", ["Conv"]),
    ],
)
def test_zeros_around_the_image_are_fused(body: str, left: list[str]) -> None:
    space, x = built(body), normal(2, 2, 6, 6)
    before = run(space, x=x)["y"]
    assert FusePad()(space)
    assert ops(space) == left
    np.testing.assert_allclose(run(space, x=x)["y"], before, rtol=1e-5, atol=1e-6)
    assert changes_nothing(space, FusePad())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('a = Pad<mode="reflect">(x, pads) y = Conv(a, w)', "by reflect"),
        ("a = Pad(x, pads, one) y = Conv(a, w)", "not zero"),
        ("a = Pad(x, channels) y = Conv<group=1>(a, v)", "the channels"),
        ("a = Pad(x, less) y = Conv(a, w)", "cuts off"),
        ('a = Pad(x, pads) y = Conv<auto_pad="SAME_UPPER">(a, w)', "by its own rule"),
        (f"a = Pad(x, pads) y = MaxPool<{POOL}>(a)", "may be below"),
        (f"r = Relu(x) a = Pad(r, wide) y = MaxPool<{POOL}>(a)", "padding alone"),
        (f"r = Relu(x) a = Pad(r, pads) y = MaxPool<{POOL}, ceil_mode=1>(a)", "over the end"),
        (f"a = Pad(x, pads) y = AveragePool<{POOL}, pads=[1,0,1,0]>(a)", "does not count"),
        ("s = Shape(x) t = Add(s, s) u = Mul(s, s) p = Concat<axis=0>(t, u) a = Pad(x, p) y = Conv(a, w)", "run time"),
    ],
)
def test_what_is_not_the_same_is_declined(body: str, reason: str) -> None:
    text = f"g (float[2,2,6,6] x) => (float[A,B,C,D] y) {{ {body} }}"
    constants = {**CONSTANTS, "v": normal(4, 3, 3, 3)}
    space = workspace(parse(text, 18, **{name: array for name, array in constants.items() if reads(body, name)}))
    assert changes_nothing(space, FusePad())
    (entry,) = space.ledger.of("declined")
    assert entry.op_type == "Pad" and reason in entry.reason


@pytest.mark.parametrize("rest", ["y = Relu(a)", "b = Conv<pads=[1,1,1,1]>(a, u) c = Relu(a) y = Add(b, c)"])
def test_where_something_else_reads_it_it_stays(rest: str) -> None:
    text = f"g (float[2,2,6,6] x) => (float[A,B,C,D] y) {{ a = Pad(x, pads) {rest} }}"
    given = {"u": normal(2, 2, 3, 3), "pads": CONSTANTS["pads"]}
    space = workspace(parse(text, 18, **{name: array for name, array in given.items() if reads(text, name)}))
    assert changes_nothing(space, FusePad())
