"""Running a graph."""

import pytest

from onnxq.errors import ModelError
from onnxq.execute import Session, returning
from onnxq.testing import normal, parse

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(4, 4))


def test_inner_tensors_are_returned_beside_or_instead_of_the_outputs() -> None:
    assert [value.name for value in returning(MODEL, ["y", "a", "x"]).graph.output] == ["a", "y"]
    assert [value.name for value in returning(MODEL, ["x"]).graph.output] == [
        value.name for value in MODEL.graph.output
    ]
    assert [value.name for value in MODEL.graph.output] == ["y"]


def test_what_onnxruntime_refuses_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"cannot run the model on x \[2, 3\]"):
        Session(MODEL).run({"x": normal(2, 3)})
    broken = parse("g (float[N] x) => (float[N] y) { y = NoSuch(x) }")
    with pytest.raises(ModelError, match="onnxruntime cannot load the model") as caught:
        Session(broken)
    assert "\n" not in str(caught.value)
