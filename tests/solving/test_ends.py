"""Which layers come first and last."""

import onnx
import pytest

from onnxq.graph import every_node
from onnxq.model import load_model, to_graph
from onnxq.solving.ends import first_layers, last_layers
from onnxq.testing import named, normal, parse

W = normal(3, 3, 1, 1)
LAYERS = ("Conv", "MatMul")


def ends(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    graph = to_graph(load_model(named(model)))
    layers = {node.name for node in every_node(graph) if node.op in LAYERS}
    return set(first_layers(graph, layers)), set(last_layers(graph, layers))


def test_a_detector_has_several_last_layers() -> None:
    text = """g (float[N,3,8,8] x) => (float[N,3,A,B] p, float[N,C,D] q) {
        s = Sigmoid(x) a = Conv(s, w) b = Relu(a) c = Conv(b, w) d = Conv(c, w) p = Sigmoid(d)
        e = Conv(b, w) f = Conv(e, w) g = Conv(e, w) h = Concat<axis=1>(f, g) i = Shape(h) r = Reshape(h, k)
        q = Identity(r) }"""
    assert ends(parse(text, w=W, k=normal(3).astype("int64") * 0 + [0, 6, -1])) == ({"a"}, {"d", "f", "g"})


def test_a_residual_sum_and_two_inputs() -> None:
    text = """g (float[N,3,8,8] x, float[N,3,8,8] z) => (float[N,3,8,8] y) {
        a = Conv(x, w) b = Conv(z, w) c = Add(a, b) d = Conv(c, w) e = Conv(d, w) y = Add(c, e) }"""
    assert ends(parse(text, w=W)) == ({"a", "b"}, {"a", "b", "e"})


def test_a_shape_is_no_way() -> None:
    text = """g (float[N,3,8,8] x) => (float[A,B,C,D] y) {
        s = Shape(x) a = Conv(x, w) r = Reshape(a, s) b = Conv(r, w) t = Shape(b) c = Conv(b, w) y = Reshape(c, t) }"""
    assert ends(parse(text, w=W)) == ({"a"}, {"c"})


def test_what_is_no_layer_is_passed() -> None:
    text = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { a = Conv(x, w) b = Conv(a, w) c = Conv(b, w) y = Relu(c) }"
    graph = to_graph(load_model(named(parse(text, w=W))))
    assert first_layers(graph, {"b"}) == last_layers(graph, {"b"}) == {"b"}
    assert first_layers(graph, ()) == last_layers(graph, ()) == frozenset()


@pytest.mark.parametrize("op", ["If", "Loop"])
def test_layers_in_bodies(op: str) -> None:
    inner = "i = MatMul({0}, v) j = MatMul(i, v) k = MatMul(j, v)"
    bodies = {
        "If": f"""r = If (c) <then_branch = t () => (float[A,B] k) {{ {inner.format("x")} }},
                  else_branch = e () => (float[A,B] l) {{ l = Identity(x) }}>""",
        "Loop": f"""r = Loop (n, c, x) <body = b (int64 m, bool d, float[A,B] u) => (bool o, float[A,B] k) {{
                  o = Identity(d) {inner.format("u")} }}>""",
    }
    text = f"g (float[2,3] x, bool c, int64 n) => (float[A,B] y) {{ {bodies[op]} y = Relu(r) }}"
    assert ends(parse(text, v=normal(3, 3))) == ({"MatMul_i"}, {"MatMul_k"})
