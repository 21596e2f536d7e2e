"""Questions and edits that every rewrite needs."""

import numpy as np
import pytest

from onnxq.errors import Declined
from onnxq.graph import (
    Layout,
    Names,
    bypass,
    data_inputs,
    data_outputs,
    has_bias,
    layout,
    per_channel,
    readers,
    sole_producer,
    sole_reader,
    subgraph_nodes,
    tidy,
)
from onnxq.testing import normal, ops, parse, run, workspace

ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("node", "shape", "found"),
    [
        ("Conv(x, w)", (4, 2, 3, 3), Layout(1, 0, 1)),
        ("Conv<group=2>(x, w)", (4, 1, 3, 3), Layout(1, 0, 1, 2)),
        ("ConvTranspose<group=2>(x, w)", (2, 3, 2, 2), Layout(1, 1, 0, 2)),
        ("Gemm(x, w)", (8, 4), Layout(1, 1, 0)),
        ("Gemm<transB=1>(x, w)", (4, 8), Layout(1, 0, 1)),
        ("MatMul(x, w)", (8, 4), Layout(1, 1, 0)),
        ("MatMul(x, w)", (5, 8, 4), Layout(1, 2, 1)),
        ("MatMul(w, x)", (4, 8), Layout(0, 0, 1)),
        ("MatMul(x, w)", (8,), None),
        ("MatMul(x, x)", (1,), None),
        ("Conv(x, x)", (1,), None),
        ("Relu(x)", (1,), None),
    ],
)
def test_layout_says_where_weights_and_channels_are(node: str, shape: tuple[int, ...], found: Layout | None) -> None:
    # The graph is read, not run, so the shapes of its activations do not matter.
    model = parse(f"g (float[N, M] x) => (float y) {{ y = {node} }}", w=normal(*shape))
    import onnx_graphsurgeon as gs

    assert layout(gs.import_onnx(model).nodes[0]) == found


BRANCHES = """g (float[N] x, bool flag) => (float[N] y, float[N] c) {
    a = Relu(x) b = Neg(a) c = Abs(b) d = Mul(a, a)
    e = If (flag) <then_branch = then () => (float[N] t) { t = Exp(d) }, else_branch = other () => (float[N] f) {
        i = Exp(x) f = Neg(i) }>
    y = Sqrt(e) }"""


def test_readers_are_counted_per_input_and_in_subgraphs_too() -> None:
    graph = workspace(parse(BRANCHES)).graph
    tensors, outer = graph.tensors(), {node.op: node for node in graph.nodes}
    assert sorted((node.op, index) for node, index in readers(tensors["a"])) == [("Mul", 0), ("Mul", 1), ("Neg", 0)]
    assert [(node.op, index) for node, index in readers(tensors["d"])] == [("Exp", 0)]
    assert sole_reader(graph, tensors["d"]) is None  # read in a subgraph
    assert sole_reader(graph, tensors["b"]) is outer["Abs"]
    assert sole_reader(graph, tensors["c"]) is None  # a graph output
    assert sole_producer(graph, tensors["b"], "Neg") is outer["Neg"]
    assert sole_producer(graph, tensors["b"], "Conv") is None
    assert sole_producer(graph, tensors["a"], "Relu") is None
    assert sole_producer(graph, tensors["c"], "Abs") is None
    assert [node.op for node in subgraph_nodes(outer["If"])] == ["Exp", "Exp", "Neg"]


def test_bypass_keeps_the_output_s_name_and_refuses_where_the_input_is_read_elsewhere() -> None:
    space = workspace(parse("g (float[N] x) => (float[N] y) { a = Abs(x) b = Relu(a) y = Identity(b) }"))
    before = run(space, x=normal(5))
    bypass(space.graph, space.graph.nodes[2])
    bypass(space.graph, space.graph.nodes[1])
    tidy(space.graph)
    assert ops(space) == ["Abs"]
    np.testing.assert_array_equal(run(space, x=normal(5))["y"], before["y"])
    for text in ("{ a = Abs(x) z = Neg(a) y = Relu(a) }", "{ z = Abs(x) y = Relu(z) }", "{ z = Abs(x) y = Relu(x) }"):
        graph = workspace(parse(f"g (float[N] x) => (float[N] y, float[N] z) {text}")).graph
        with pytest.raises(Declined, match="other readers"):
            bypass(graph, next(node for node in graph.nodes if node.op == "Relu"))


def test_tidy_keeps_inputs_that_nothing_reads() -> None:
    space = workspace(parse("g (float[N] x, float[N] unused) => (float[N] y) { a = Abs(x) y = Relu(x) }"))
    tidy(space.graph)
    assert ops(space) == ["Relu"]
    assert [value.name for value in space.model().graph.input] == ["x", "unused"]


def test_names_are_never_given_twice() -> None:
    graph = workspace(parse("g (float[N] x) => (float[N] y) { [n] a = Abs(x) y = Relu(a) }")).graph
    names = Names(graph)
    assert [names.fresh(base) for base in ("a", "a", "n", "q", "q")] == ["a_1", "a_2", "n_1", "q", "q_1"]


def test_data_inputs_and_outputs() -> None:
    graph = workspace(
        parse(
            """g (float[N, 4] x) => (float[N, 2] y) {
            a = Concat<axis=0>(x, x, x) b, c = Split<axis=1>(a, parts) d = Reshape(b, shape) y = Add(d, c) }""",
            parts=np.array([2, 2]),
            shape=np.array([0, 0]),
        )
    ).graph
    assert {node.op: (data_inputs(node), data_outputs(node)) for node in graph.nodes} == {
        "Concat": ([0, 1, 2], [0]),
        "Split": ([0], [0, 1]),
        "Reshape": ([0], [0]),
        "Add": ([0, 1], [0]),
    }


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (1, 1)])
def test_a_bias_that_is_the_same_in_every_row_is_per_channel(shape: tuple[int, ...]) -> None:
    bias = normal(*shape)
    np.testing.assert_array_equal(per_channel(bias, 3), np.broadcast_to(bias, (2, 3))[0])


@pytest.mark.parametrize("shape", [(3, 1), (2, 3), (2,), (3, 3)])
def test_another_bias_is_not(shape: tuple[int, ...]) -> None:
    with pytest.raises(Declined, match="not one number per channel"):
        per_channel(normal(*shape), 3)


def test_an_empty_bias_is_none() -> None:
    model = parse("g (float[1,1,4,4] x) => (float[1,1,4,4] y) { a = Conv(x, w, ) b = Conv(a, w) y = Conv(b, w, c) }",
                  w=normal(1, 1, 1, 1), c=ONE)  # fmt: skip
    assert [has_bias(node) for node in workspace(model).graph.nodes] == [False, False, True]
