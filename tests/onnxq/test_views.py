"""Numbers along one axis, seen through a view: multiplying before it is multiplying behind it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq.affine import Affine, along
from onnxq.errors import Declined
from onnxq.testing import normal, parse, workspace
from onnxq.views import reshaped, seen_before, seen_behind

SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(SHAPES, st.data())
def test_a_reshape_is_right_or_declined(shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    assume(shape[axis] > 1)  # one number is for all
    flat = int(np.prod(shape))
    first = data.draw(st.sampled_from([n for n in range(1, flat + 1) if flat % n == 0]))
    second = data.draw(st.sampled_from([n for n in range(1, flat // first + 1) if flat // first % n == 0]))
    target = [first, second, flat // first // second]
    vector = np.random.default_rng(0).standard_normal(shape[axis])
    wanted = np.broadcast_to(along(vector, axis, len(shape)), shape).reshape(target)
    try:
        found = reshaped(Affine(vector, vector, axis), shape, target)
    except Declined:
        for number, size in enumerate(target):  # no axis has all of it: its numbers differ from place to place
            lines = np.moveaxis(wanted, number, 0).reshape(size, -1)
            assert not np.array_equal(lines, np.broadcast_to(lines[:, :1], lines.shape))
        return
    np.testing.assert_array_equal(np.broadcast_to(along(found.factor, found.axis, 3), target), wanted)


@pytest.mark.parametrize(
    ("node", "shape", "behind"),
    [
        ("Transpose<perm=[2,0,1]>(x)", "2,3,4", 2),
        ("Transpose(x)", "2,3,4", 1),
        ("Squeeze(x, zero)", "1,3,4", 0),
        ("Unsqueeze(x, zero)", "2,3,4", 2),
        ("Identity(x)", "2,3,4", 1),
    ],
)
def test_there_and_back(node: str, shape: str, behind: int) -> None:
    dims = {"Squeeze": "A,B", "Unsqueeze": "A,B,C,D"}.get(node.partition("(")[0], "A,B,C")
    given: dict[str, Any] = {"zero": np.array([0])} if "zero" in node else {}
    (view,) = workspace(parse(f"g (float[{shape}] x) => (float[{dims}] y) {{ y = {node} }}", **given)).graph.nodes
    there = seen_behind(view, Affine(normal(3).astype(float), np.zeros(3), 1))
    assert there.axis == behind
    assert seen_before(view, there).axis == 1


def test_what_is_squeezed_or_not_known_is_declined() -> None:
    text = "g (float[2,1,4] x) => (float[2,4] y) { y = Squeeze(x, one) }"
    (view,) = workspace(parse(text, one=np.array([1]))).graph.nodes
    two = Affine(np.array([1.0, 2.0]), np.zeros(2), 1)
    with pytest.raises(Declined, match="drops the axis"):
        seen_behind(view, two)
    view.outputs[0].shape = None
    with pytest.raises(Declined, match="not known"):
        seen_behind(view, two)
    assert seen_behind(view, Affine(np.ones(1), np.zeros(1), 0)).scalar
