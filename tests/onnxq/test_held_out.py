"""The error of outputs over their signal."""

import numpy as np
import onnx
import pytest

from onnxq.held_out import noise
from onnxq.testing import normal, parse


def model(body: str, outputs: str = "float[N,3] y") -> onnx.ModelProto:
    return parse(
        f"g (float[N,3] x) => ({outputs}) {{ {body} }}", k=np.array(0.9, np.float32), n=np.array(np.nan, np.float32)
    )


FEEDS = [{"x": normal(4, 3, seed=seed)} for seed in range(3)]


def test_the_power_of_the_error_over_that_of_the_signal() -> None:
    found = noise(model("y = Identity(x)"), [model("y = Identity(x)"), model("y = Mul(x, k)")], FEEDS)
    assert found == [0, pytest.approx(0.01, rel=1e-5)]


def test_outputs_count_equally_and_integers_not() -> None:
    outputs = "float[N,3] y, float[N,3] z, int64[N,1] i"
    one = model("y = Identity(x) z = Add(x, x) i = ArgMax<axis=1>(x)", outputs)
    other = model("y = Mul(x, k) z = Add(x, x) m = Neg(x) i = ArgMax<axis=1>(m)", outputs)
    assert noise(one, [other], FEEDS) == [pytest.approx(0.005, rel=1e-5)]


@pytest.mark.parametrize("body", ["y = Mul(x, n)", "y = Concat<axis=0>(x, x)"])
def test_what_cannot_be_compared_is_infinitely_wrong(body: str) -> None:
    assert noise(model("y = Identity(x)"), [model(body)], FEEDS) == [np.inf]
    integers = model("y = ArgMax<axis=1>(x)", "int64[N,1] y")
    assert noise(integers, [integers], FEEDS) == [np.inf]
