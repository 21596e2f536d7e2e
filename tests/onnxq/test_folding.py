"""What depends on no input is computed, as long as its size is known and within bounds."""

import numpy as np

from onnxq.passes import FoldConstants
from onnxq.testing import normal, ops, parse, workspace


def test_what_cannot_be_computed_leaves_the_rest() -> None:
    text = (
        "g (float[2] x) => (float[2] y) { a = Add(w, w) b = Reshape(a, three) c = Neg(a) d = Add(x, c) y = Add(d, b) }"
    )
    space = workspace(parse(text, w=normal(2), three=np.array([3])), {"x": normal(1, 2)})
    assert FoldConstants()(space)
    assert sorted(ops(space)) == ["Add", "Add", "Reshape"]


def test_a_larger_bound_lets_more_be_computed() -> None:
    text = "g (float[1] x) => (float[A] y) { a = ConstantOfShape(size) y = Add(x, a) }"
    for largest, left in ((4 * 999, 2), (4 * 1000, 1)):
        space = workspace(parse(text, size=np.array([1000])))
        FoldConstants(largest=largest)(space)
        assert len(ops(space)) == left


def test_random_numbers_stay_random() -> None:
    space = workspace(parse("g (float[2] x) => (float[2] y) { a = RandomNormal<shape=[2]>() y = Add(x, a) }"))
    assert not FoldConstants()(space)


def test_a_part_of_a_shape_is_that_part() -> None:
    text = "g (float[2,3,4] x) => (int64[A] y, int64[B] z) { y = Shape<start=1>(x) z = Shape<start=-5, end=-1>(x) }"
    space = workspace(parse(text))
    assert FoldConstants()(space)
    assert [tensor.values.tolist() for tensor in space.graph.outputs] == [[3, 4], [2, 3]]
