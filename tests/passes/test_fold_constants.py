"""What depends on no input is computed once."""

import numpy as np

from onnxq.passes import FoldConstants
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace


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
