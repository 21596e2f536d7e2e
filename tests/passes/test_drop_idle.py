"""Nodes that do nothing go, and the interface stays."""

import numpy as np
import pytest

from onnxq.normal import Normal
from onnxq.passes import DropIdle
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
from onnxq.workspace import Workspace

CONSTANTS = {
    "shape": np.array([0, 3, -1]),
    "other": np.array([0, 4, -1]),
    "flat": np.array([-1]),
    "zeros": np.zeros(2, np.int64),
    "ends": np.array([4, 2**31]),
    "fewer": np.array([3, 3]),
    "axes": np.array([2, 1]),
    "ones": np.ones(2, np.int64),
    "steps": np.array([1, 2]),
    "pads": np.zeros(6, np.int64),
    "scales": np.ones(3, np.float32),
    "sizes": np.array([2, 3, 4]),
    "one": np.array(1, np.float32),
    "row": np.ones((1, 3, 1), np.float32),
    "none": np.zeros((3, 4), np.float32),
    "many": np.ones((1, 1, 3, 4), np.float32),
    "half": np.array(0.5, np.float32),
    "off": np.array(False),
    "on": np.array(True),
    "thrice": np.ones(3, np.int64),
}


def built(body: str) -> Workspace:
    dims = "A,B,C,D" if "many" in body else "A,B,C"
    text = f"g (float[2,3,4] x) => (float[{dims}] y) {{ a = Exp(x) {body} y = Neg(b) }}"
    return workspace(parse(text, 18, **{name: array for name, array in CONSTANTS.items() if reads(body, name)}))


IDLE = [
    "b = Identity(a)",
    "b = Dropout(a)",
    "b = Dropout(a, half, off)",
    "b = Cast<to=1>(a)",
    "b = Reshape(a, shape)",
    "b = Transpose<perm=[0,1,2]>(a)",
    "b = Slice(a, zeros, ends, axes)",
    "b = Slice(a, zeros, ends, axes, ones)",
    "b = Pad(a, pads)",
    "b = Resize(a, , scales)",
    "b = Resize(a, , , sizes)",
    "b = Mul(a, one)",
    "b = Mul(row, a)",
    "b = Div(a, row)",
    "b = Add(a, none)",
    "b = Add(none, a)",
    "b = Sub(a, none)",
    "b = Concat<axis=1>(a)",
    "b = Sum(a)",
    "b = Expand(a, thrice)",
    "b = Tile(a, thrice)",
]
BUSY = [
    "b = Dropout(a, half, on)",
    "c = Cast<to=10>(a) b = Cast<to=1>(c)",
    "b = Reshape(a, other)",
    "b = Transpose<perm=[0,2,1]>(a)",
    "b = Slice(a, zeros, fewer, axes)",
    "b = Slice(a, zeros, ends, axes, steps)",
    "b = Sub(none, a)",
    "b = Div(one, a)",
    "b = Mul(a, half)",
    "b = Mul(a, many)",
    "b = Add(a, a)",
]


@pytest.mark.parametrize("body", IDLE)
def test_what_does_nothing_goes(body: str) -> None:
    space, x = built(body), normal(2, 3, 4)
    before = run(space, x=x)["y"]
    assert DropIdle()(space)
    assert ops(space) == ["Exp", "Neg"]
    np.testing.assert_array_equal(run(space, x=x)["y"], before)
    assert changes_nothing(space, DropIdle())


@pytest.mark.parametrize("body", BUSY)
def test_what_does_something_stays(body: str) -> None:
    assert changes_nothing(built(body), DropIdle())


def test_outputs_keep_their_names_and_what_reads_a_dropped_node_reads_on() -> None:
    text = """g (float[2,3] x) => (float[2,3] y, float[2,3] z, float[2,3] u) {
        a = Exp(x) y = Identity(a) b = Identity(a) z = Neg(b) c = Identity(b) u = Abs(c) }"""
    space = workspace(parse(text))
    space.normals["a"] = Normal(np.zeros(3), np.ones(3))
    before, x = run(space, x=normal(2, 3)), normal(2, 3)
    assert DropIdle()(space)
    assert ops(space) == ["Exp", "Neg", "Abs"] and space.normals.keys() == {"y"}
    after = run(space, x=x)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("body", ["y = Identity(x)", "y = Exp(x) z = Identity(y)", "a = Dropout(x) y = Identity(a)"])
def test_an_input_is_handed_through_by_a_node(body: str) -> None:
    outputs = "float[2] y, float[2] z" if "z =" in body else "float[2] y"
    space = workspace(parse(f"g (float[2] x) => ({outputs}) {{ {body} }}"))
    DropIdle()(space)
    assert ops(space)[-1] == "Identity"
    np.testing.assert_array_equal(run(space, x=normal(2))["y"], run(space.source, x=normal(2))["y"])


def test_a_mask_that_is_read_is_not_dropped() -> None:
    text = "g (float[2,3] x) => (float[2,3] y, bool[2,3] m) { a = Exp(x) b, m = Dropout(a) y = Neg(b) }"
    assert changes_nothing(workspace(parse(text)), DropIdle())


def test_a_body_reads_on() -> None:
    space = workspace(
        parse("""g (float[2] x, bool flag) => (float[2] y) { a = Exp(x) b = Identity(a)
        y = If (flag) <then_branch = t () => (float[2] u) { u = Add(b, b) },
                       else_branch = e () => (float[2] v) { v = Neg(x) }> }""")
    )
    feeds = {"x": normal(2), "flag": np.array(True)}
    before = run(space, **feeds)["y"]
    assert DropIdle()(space)
    np.testing.assert_array_equal(run(space, **feeds)["y"], before)
