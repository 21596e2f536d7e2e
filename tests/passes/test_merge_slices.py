"""One Slice for several axes."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import MergeSlices
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
from onnxq.workspace import Workspace

CONSTANTS: dict[str, Any] = {
    "zero": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "end": np.array([2**62]),
    "last": np.array([-1]),
    "both": np.array([1, 2]),
    "ends": np.array([3, 5]),
}


def built(body: str) -> Workspace:
    text = f"g (float[N,4,6,8] x) => (float[A,B,C,D] y) {{ {body} }}"
    return workspace(parse(text, **{name: array for name, array in CONSTANTS.items() if reads(body, name)}))


@pytest.mark.parametrize(
    "body",
    [
        "a = Slice(x, zero, end, two, two) y = Slice(a, one, end, last, two)",
        "a = Slice(x, zero, last, one) b = Slice(a, one, two, two) y = Slice(b, last, zero, last, last)",
        "a = Slice(x, both, ends, both) y = Slice(a, one, two, zero)",
    ],
)
def test_they_become_one(body: str) -> None:
    space, x = built(body), normal(3, 4, 6, 8)
    before = run(space, x=x)["y"]
    assert MergeSlices()(space)
    assert ops(space) == ["Slice"]
    np.testing.assert_array_equal(run(space, x=x)["y"], before)
    assert changes_nothing(space, MergeSlices())


@pytest.mark.parametrize(
    "body",
    [
        "a = Slice(x, one, end, two) y = Slice(a, one, end, two)",  # one axis twice
        "a = Slice(x, one, end, two) b = Slice(a, one, end, last) c = ReduceSum(a) y = Add(b, c)",
        "s = Shape(x) e = Slice(s, one, two, zero) a = Slice(x, zero, e, one) y = Slice(a, one, end, last)",
    ],
)
def test_what_is_not_one_stays(body: str) -> None:
    assert changes_nothing(built(body), MergeSlices())
