"""What depends on no input is computed once."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import FoldConstants
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace


def test_constants_and_shape_arithmetic_are_folded_and_the_rest_computes_the_same() -> None:
    space = workspace(
        parse(
            """g (float[2,3,4] x) => (float[2,12] y) {
            one = Constant<value_float=2.0>() two = Add(one, w) a = Mul(x, two)
            s = Shape(a) i = Gather(s, zero) u = Unsqueeze(i, axis) t = Concat<axis=0>(u, rest) y = Reshape(a, t) }""",
            w=normal(4), zero=np.array(0), axis=np.array([0]), rest=np.array([-1]),
        )
    )  # fmt: skip
    before = run(space, x=normal(2, 3, 4))["y"]
    assert FoldConstants()(space)
    assert ops(space) == ["Mul", "Reshape"]
    np.testing.assert_array_equal(run(space, x=normal(2, 3, 4))["y"], before)
    assert [entry.kind for entry in space.ledger.entries] == ["changed"]
    assert changes_nothing(space, FoldConstants())


def test_a_node_may_have_the_name_of_a_constant() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Mul(w, two) [two] y = Add(x, a) }"
    space = workspace(parse(text, w=normal(4), two=np.array([2], np.float32)))
    assert FoldConstants()(space)
    assert [node.name for node in space.graph.nodes] == ["two"] and ops(space) == ["Add"]


def test_what_nothing_reads_goes_and_the_interface_stays() -> None:
    space = workspace(parse("g (float[2] x, float[2] unused) => (float[2] y) { a = Exp(x) b = Neg(a) y = Abs(x) }"))
    assert FoldConstants()(space)
    assert ops(space) == ["Abs"]
    assert [value.name for value in space.model().graph.input] == ["x", "unused"]


def test_a_constant_that_would_grow_without_bound_is_not_expanded() -> None:
    space = workspace(
        parse(
            "g (float[1] x) => (float[1] y) { a = ConstantOfShape(s) b = ReduceMax<keepdims=0>(a) y = Add(x, b) }",
            s=np.array([1 << 13, 1 << 12]),
        )
    )
    FoldConstants()(space)
    assert space.model().ByteSize() < 1000


def test_branches_are_left_alone_and_an_output_that_is_constant_stays_an_output() -> None:
    space = workspace(
        parse(
            """g (float[2] x, bool flag) => (float[2] y, float[2] c) { c = Add(w, w)
            y = If (flag) <then_branch = t () => (float[2] u) { k = Add(w, w) u = Add(x, k) },
                           else_branch = e () => (float[2] v) { v = Neg(x) }> }""",
            w=normal(2),
        )
    )
    feeds = {"x": normal(2), "flag": np.array(True)}
    before = run(space, **feeds)
    FoldConstants()(space)
    after = run(space, **feeds)
    assert [value.name for value in space.model().graph.output] == ["y", "c"]
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


def test_a_graph_without_constants_is_not_touched() -> None:
    space = workspace(parse("g (float[2] x) => (float[2] y) { y = Abs(x) }"))
    assert changes_nothing(space, FoldConstants())
    assert not space.ledger.entries


RESHAPES = {
    "its own batch": ("s = Shape(a) n = Gather(s, zero) u = Unsqueeze(n, axis) t = Concat<axis=0>(u, rest)", [0, -1]),
    "sizes in a row": ("s = Shape(a) n = Slice(s, axis, one) t = Concat<axis=0>(n, four, rest)", [0, 4, -1]),
    "of what was before": (
        "s = Shape(x) n = Gather(s, zero) u = Unsqueeze(n, axis) t = Concat<axis=0>(u, rest, four)", [0, -1, 4],
    ),
    "one free size": ("s = Shape(h) n = Gather(s, zero) u = Unsqueeze(n, axis) t = Concat<axis=0>(u, two, six)",
                      [-1, 2, 6]),
}  # fmt: skip


@pytest.mark.parametrize("name", RESHAPES)
def test_a_reshape_takes_free_sizes_as_they_come(name: str) -> None:
    body, shape = RESHAPES[name]
    given: dict[str, Any] = {
        "zero": np.array(0), "axis": np.array([0]), "one": np.array([1]), "rest": np.array([-1]), "four": np.array([4]),
        "two": np.array([2]), "six": np.array([6]), "w": normal(4), "k": normal(2, 3, 1),
    }  # fmt: skip
    text = f"""g (float[N,3,4] x, float[M,4] h) => (float[{"A,B" if len(shape) == 2 else "A,B,C"}] y, float[M,4] z) {{
        e = Exp(x) f = Transpose<perm=[0,2,1]>(e) r = Relu(f) b = Transpose<perm=[0,2,1]>(r) a = Mul(b, w) z = Neg(h)
        {body} y = Reshape(a, t) }}"""
    space = workspace(parse(text, **{name: array for name, array in given.items() if reads(text, name)}))
    feeds = {"x": normal(5, 3, 4), "h": normal(5, 4)}
    before = run(space, **feeds)["y"]
    assert FoldConstants()(space)
    assert not {"Shape", "Gather", "Concat"} & set(ops(space))
    (reshape,) = (node for node in space.graph.nodes if node.op == "Reshape")
    assert reshape.inputs[1].values.tolist() == shape
    np.testing.assert_array_equal(run(space, **feeds)["y"], before)
    assert changes_nothing(space, FoldConstants())


@pytest.mark.parametrize("target", ["Concat<axis=0>(n, n)", "Concat<axis=0>(n, rest)", "Concat<axis=0>(n, m, rest)"])
def test_a_reshape_of_sizes_that_are_not_its_own_stays(target: str) -> None:
    text = f"""g (float[N,3,K] x, float[M,4] h) => (float[A,B] y) {{ s = Shape(h) n = Slice(s, axis, one)
        q = Shape(x) m = Slice(q, axis, one) t = {target} y = Reshape(x, t) }}"""
    given: dict[str, Any] = {"axis": np.array([0]), "one": np.array([1]), "rest": np.array([-1])}
    feeds = {"x": normal(4, 3, 4), "h": normal(4, 4)}
    space = workspace(parse(text, **{name: array for name, array in given.items() if reads(text, name)}), feeds)
    FoldConstants()(space)
    assert {"Shape", "Concat"} <= set(ops(space))


def test_shapes_that_follow_from_constants_are_known_afterwards() -> None:
    text = "g (float[N,3,8] x) => (float[A,B,C] y) { e = Add(two, two) s = Slice(x, two, e, two, one) y = Relu(s) }"
    space = workspace(parse(text, two=np.array([2]), one=np.array([1])))
    assert FoldConstants()(space)
    assert space.graph.nodes[-1].inputs[0].shape == ["N", 3, 2]
