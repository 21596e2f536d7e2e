"""Sizes that are free, followed from where they come from."""

from typing import Any

import numpy as np

from onnxq.reshapes import written
from onnxq.shape_values import ShapeValues, Size
from onnxq.testing import normal, parse, workspace


def test_a_batch_is_followed_through_a_network() -> None:
    text = """g (float[N,4,8,8] x) => (float[A,B,C] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Add(b, x) d = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)
        e = Reshape(d, tokens) f = Transpose<perm=[0,2,1]>(e) g1 = MatMul(f, m) h = Add(f, g1)
        y = Slice(h, one, two, one) s = Shape(y) n = Gather(s, zero) u = Unsqueeze(n, zeros) }"""
    given: dict[str, Any] = {"w": normal(4, 4, 3, 3), "m": normal(4, 4), "tokens": np.array([-1, 4, 16])}
    given |= {"one": np.array([1]), "two": np.array([2]), "zero": np.array(0), "zeros": np.array([0])}
    known = ShapeValues.of(workspace(parse(text, **given)).graph)
    batch = Size("x", 0)
    assert all(known.sizes[name][0] == batch for name in ("a", "b", "c", "d", "e", "f", "g1", "h", "y"))
    assert known.values["u"] == [batch]
    assert known.sizes["f"] == [batch, 16, 4]


def test_two_inputs_are_not_of_one_size_because_their_axes_have_one_name() -> None:
    text = "g (float[N,4] x, float[N,4] z) => (float[A,4] y) { y = Add(x, z) }"
    known = ShapeValues.of(workspace(parse(text)).graph)
    assert known.sizes["y"][0] == Size("y", 0)


def test_at_most_one_free_size_is_left_to_be_found() -> None:
    a, b = Size("x", 0), Size("h", 0)
    assert written([a, 4, -1], [a, 8], copies=True) == [0, 4, -1]
    assert written([a, 4], [a, 8], copies=False) == [-1, 4]
    assert written([4, a], [a, 8], copies=True) == [4, -1]
    assert written([b, a], [a, 8], copies=True) is None
    assert written([b, -1], [a, 8], copies=True) is None
    assert written([None, 4], [a, 8], copies=True) is None
