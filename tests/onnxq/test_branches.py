"""An If whose condition is constant becomes the branch that it takes."""

import numpy as np
import pytest

from onnxq.passes import FoldConstants
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace

TEXT = """g (float[2] x) => (float[2] y, float[2] z) {
    y, z = If (flag) <then_branch = t () => (float[2] u, float[2] same) { k = Neg(x) u = Add(k, w) same = Identity(x) },
                      else_branch = e () => (float[2] u, float[2] same) { u = Exp(x) same = Relu(u) }> }"""


@pytest.mark.parametrize(("flag", "left"), [(True, {"Neg", "Add", "Identity"}), (False, {"Exp", "Relu", "Identity"})])
def test_the_branch_that_is_taken_is_left(flag: bool, left: set[str]) -> None:
    space = workspace(parse(TEXT, w=normal(2), flag=np.array(flag)))
    before = run(space, x=normal(2, seed=1))
    assert FoldConstants()(space)
    assert set(ops(space)) == left
    after = run(space, x=normal(2, seed=1))
    assert [value.name for value in space.model().graph.output] == ["y", "z"]
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
    assert changes_nothing(space, FoldConstants())
