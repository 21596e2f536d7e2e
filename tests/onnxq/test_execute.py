"""Running a graph and watching its tensors."""

import numpy as np
import pytest

from onnxq.errors import ModelError
from onnxq.execute import Session, returning, watch
from onnxq.inputs import InputSpec
from onnxq.samples import open_samples
from onnxq.testing import normal, parse

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(4, 4))
X = normal(7, 4)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("fixed", [None, 4])
def test_what_is_watched_does_not_depend_on_the_batch(batch: int | None, fixed: int | None) -> None:
    steps: list[int] = []
    samples = open_samples(X, [InputSpec("x", np.dtype(np.float32), (fixed, 4))])
    found = watch(MODEL, ["x", "a"], samples, batch=batch, step=steps.append)
    made = X @ normal(4, 4)
    assert (found["x"].low, found["x"].high) == (X.min(), X.max())
    assert found["a"].low == pytest.approx(made.min(), rel=1e-5)
    assert found["a"].counts is not None and found["a"].counts.sum() == 28
    assert steps[-1] == 7


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
