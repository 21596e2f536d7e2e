"""Axes are dropped by a Squeeze, not in passing."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes.keep_axes import KeepAxes
from onnxq.testing import changes_nothing, normal, ops, parse, run, workspace

X = normal(2, 3, 4)


@pytest.mark.parametrize(
    ("body", "opset", "constants"),
    [
        ("y = ReduceMean<axes=[1], keepdims=0>(x)", 17, {}),
        ("y = ReduceMax<keepdims=0>(x, axes)", 18, {"axes": np.array([-2])}),
        ("y = ReduceSum<keepdims=0>(x, axes)", 17, {"axes": np.array([1])}),
        ("y = Gather<axis=1>(x, one)", 17, {"one": np.array(1)}),
        ("y = Gather<axis=-2>(x, one)", 17, {"one": np.array(-1)}),
    ],
)
def test_the_shape_and_the_numbers_stay(body: str, opset: int, constants: dict[str, Any]) -> None:
    space = workspace(parse(f"g (float[N,3,4] x) => (float[N,4] y) {{ {body} }}", opset=opset, **constants))
    assert KeepAxes()(space)
    assert ops(space) == [ops(space.source)[0], "Squeeze"]
    np.testing.assert_array_equal(run(space, x=X)["y"], run(space.source, x=X)["y"])
    assert changes_nothing(space, KeepAxes())


@pytest.mark.parametrize(
    "body",
    [
        "y = ReduceMean<axes=[1], keepdims=1>(x)",
        "y = ReduceMean<keepdims=0>(x)",
        "y = Gather<axis=1>(x, list)",
        "s = Shape(x) y = Gather(s, one)",
    ],
)
def test_what_drops_no_axis_and_what_is_no_float_stays(body: str) -> None:
    kind = "int64 y" if "Shape" in body else "float y"
    space = workspace(parse(f"g (float[N,3,4] x) => ({kind}) {{ {body} }}", list=np.array([1]), one=np.array(1)))
    assert changes_nothing(space, KeepAxes())
