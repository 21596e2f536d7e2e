"""What follows the last linear layer is told by the graph, not by names."""

import numpy as np

from onnxq.planning.tails import before_a_layer, is_expectation
from onnxq.testing import normal, parse, workspace


def test_what_reaches_a_layer_leads_and_what_does_not_is_a_tail() -> None:
    graph = workspace(
        parse(
            """g (float[N,4,8,8] x) => (float[N,4,8,8] y, float[N,4,8,8] z) { [in] a = Abs(x) [one] b = Conv(a, w)
            [mid] c = Exp(b) [two] d = Conv(c, w) [out] y = Exp(d) [side] z = Neg(c) }""",
            w=normal(4, 4, 1, 1),
        )
    ).graph
    assert before_a_layer(graph) == {"in", "one", "mid"}


def test_a_layer_in_a_body_is_a_layer_too() -> None:
    graph = workspace(
        parse(
            """g (float[4,8] x, bool f) => (float[4,8] y) { [in] a = Abs(x) [choose] y = If(f)
            <then_branch = t () => (float[4,8] u) { u = MatMul(a, w) },
             else_branch = e () => (float[4,8] v) { v = Neg(a) }> }""",
            w=normal(8, 8),
        )
    ).graph
    assert before_a_layer(graph) == {"in"}


def test_an_expectation_over_probabilities_decodes_and_a_classifier_behind_a_softmax_does_not() -> None:
    space = workspace(
        parse(
            """g (float[N,16,4,9] x) => (float[N,1,4,9] y, float[N,5,4,9] z) { p = Softmax<axis=1>(x)
            [bins] y = Conv(p, bins) [five] z = Conv(p, five) }""",
            bins=np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), five=normal(5, 16, 1, 1),
        )
    )  # fmt: skip
    nodes = {node.name: node for node in space.graph.nodes}
    assert is_expectation(nodes["bins"]) and not is_expectation(nodes["five"])
