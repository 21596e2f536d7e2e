"""Watching tensors while a graph runs."""

import numpy as np
import pytest

from onnxq.inputs import InputSpec
from onnxq.samples import open_samples
from onnxq.testing import normal, parse
from onnxq.watching import Values, watch

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w) y = Relu(a) }", w=normal(4, 4))
X = normal(7, 4)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("fixed", [None, 4])
def test_what_is_watched_does_not_depend_on_the_batch(batch: int | None, fixed: int | None) -> None:
    steps: list[int] = []
    samples = open_samples(X, [InputSpec("x", np.dtype(np.float32), (fixed, 4))])
    found = watch(MODEL, {name: Values(name) for name in ("x", "a")}, samples, batch=batch, step=steps.append)
    made = X @ normal(4, 4)
    assert (found["x"].low, found["x"].high) == (X.min(), X.max())
    assert found["a"].low == pytest.approx(made.min(), rel=1e-5)
    assert found["a"].counts is not None and found["a"].counts.sum() == 28
    assert steps[-1] == 7
