"""Tensors that are computed alike have one word, whatever they are called; all others have others."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.computation import computations
from onnxq.testing import normal, parse

TEXT = "g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) b = LeakyRelu<alpha=0.1>(a) y = Add(b, c) }"
W, C = normal(4, 4), normal(4, seed=1)


def word(model: onnx.ModelProto) -> str:
    return computations(model)[model.graph.output[0].name]


def test_names_and_what_stands_beside_do_not_matter() -> None:
    other = """h (float[N,4] x) => (float[N,4] z, float[N,4] q) {
        m = MatMul(x, v) q = Exp(m) n = LeakyRelu<alpha=0.1>(m) z = Add(n, d) }"""
    assert word(parse(TEXT, w=W, c=C)) == word(parse(other, v=W, d=C))


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        (TEXT.replace("0.1", "0.2"), {}),
        (TEXT.replace("LeakyRelu<alpha=0.1>", "Relu"), {}),
        (TEXT.replace("Add(b, c)", "Add(c, b)"), {}),
        (TEXT.replace("(x, w)", "(u, w)").replace("float[N,4] x", "float[N,4] u"), {}),
        (TEXT, {"w": W + np.float32(1e-6)}),
        (TEXT, {"c": C.reshape(1, 4)}),
    ],
)
def test_all_else_matters(text: str, constants: dict[str, Any]) -> None:
    given: dict[str, Any] = {"w": W, "c": C, **constants}
    assert word(parse(text, **given)) != word(parse(TEXT, w=W, c=C))


def test_so_does_the_opset() -> None:
    model, newer = parse(TEXT, w=W, c=C), parse(TEXT, w=W, c=C)
    newer.opset_import[0].version += 1
    assert word(model) != word(newer)


def test_outputs_of_one_node_differ() -> None:
    model = parse("g (float[N,4] x) => (float[N,2] y, float[N,2] z) { y, z = Split<axis=1, num_outputs=2>(x) }")
    words = computations(model)
    assert words["y"] != words["z"]
