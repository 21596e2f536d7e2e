"""Which Clips are ReLUs, by their bounds and by what they read."""

from typing import Any

import numpy as np
import pytest

from onnxq.channel_statistics import channel_statistics
from onnxq.clip_bounds import clip_inputs, never_reached, unreached, upper_bound
from onnxq.testing import parse, workspace
from onnxq.workspace import Workspace

F32: Any = np.float32


def net(clip: str, x: Any = None, kind: str = "float", shape: str = "N,2", **weights: Any) -> Workspace:
    text = f"g ({kind}[{shape}] x) => ({kind}[{shape}] y) {{ {clip} }}"
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in weights.items()}
    return workspace(parse(text, **arrays), {"x": np.asarray(x)} if x is not None else "random")


def bound(space: Workspace) -> float | None:
    return upper_bound(next(node for node in space.graph.nodes if node.op == "Clip"))


BOUNDS: dict[str, Any] = {
    "relu6": ("y = Clip(x, a, b)", {"a": F32(0), "b": F32(6)}, 6.0),
    "in vectors of one": ("y = Clip(x, a, b)", {"a": F32([0]), "b": F32([4])}, 4.0),
    "no upper bound": ("y = Clip(x, a)", {"a": F32(0)}, float("inf")),
    "an infinite one": ("y = Clip(x, a, b)", {"a": F32(0), "b": F32(np.inf)}, float("inf")),
    "no lower bound": ("y = Clip(x, , b)", {"b": F32(6)}, None),
    "no bounds": ("y = Clip(x)", {}, None),
    "a lower bound below zero": ("y = Clip(x, a, b)", {"a": F32(-1), "b": F32(1)}, None),
    "a bound that is no number": ("y = Clip(x, a, b)", {"a": F32(0), "b": F32(np.nan)}, None),
    "a computed bound": (
        "c = Neg(b) d = Abs(c) e = Exp(d) f = Shape(x) y = Clip(x, a, e)",
        {"a": F32(0), "b": F32(1)},
        None,
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_upper_bound(name: str) -> None:
    text, weights, wanted = BOUNDS[name]
    assert bound(net(text, **weights)) == wanted


def test_whole_numbers_and_doubles_are_left_alone() -> None:
    for kind, dtype in (("int64", np.int64), ("double", np.float64)):
        assert bound(net("y = Clip(x, a, b)", kind=kind, a=dtype(0), b=dtype(6))) is None


def test_a_scalar_is_left_alone() -> None:
    space = workspace(parse("g (float[N,2] x) => (float y) { m = ReduceMax<keepdims=0>(x) y = Clip(m, a) }", a=F32(0)))
    assert bound(space) is None


X = F32([[1, -9], [2, 3]])


@pytest.mark.parametrize(
    ("high", "text", "wanted"),
    [
        (6, "c = Neg(x) d = Neg(c) y = Clip(d, a, b)", {"y": 3.0}),
        (3.4, "c = Neg(x) d = Neg(c) y = Clip(d, a, b)", {"y": 3.0}),  # 3 is less than nine tenths of it
        (3.3, "c = Neg(x) d = Neg(c) y = Clip(d, a, b)", {}),
        (3, "c = Neg(x) d = Neg(c) y = Clip(d, a, b)", {}),
        (6, "y = Clip(x, a, b)", {"y": 3.0}),
    ],
)
def test_a_bound_that_no_sample_reaches(high: float, text: str, wanted: dict[str, float]) -> None:
    space = net(text, X, a=F32(0), b=F32(high))
    (clip,) = (node for node in space.graph.nodes if node.op == "Clip")
    clip.name = "y"
    assert never_reached(space, [clip]) == wanted


def test_all_samples_count_and_only_the_first_where_these_are_asked() -> None:
    x = np.ones((8, 2), F32)
    x[7, 1] = 7
    space = net("c = Neg(x) d = Neg(c) [clip] y = Clip(d, a, b)", x, a=F32(0), b=F32(6))
    clips = [node for node in space.graph.nodes if node.op == "Clip"]
    assert unreached(clips, channel_statistics(space, clip_inputs(clips), 7)) == {"clip": 1.0}
    assert never_reached(space, clips) == {}


def test_what_is_not_finite_reaches_every_bound() -> None:
    space = net("d = Log(x) [clip] y = Clip(d, a, b)", F32([[0, 1], [-1, 1]]), a=F32(0), b=F32(6))
    assert never_reached(space, [node for node in space.graph.nodes if node.op == "Clip"]) == {}


@pytest.mark.parametrize("shape", ["4", "N,2,3", "N,2,3,3,1"])
def test_tensors_of_any_rank(shape: str) -> None:
    sizes = [int(size) if size.isdigit() else 2 for size in shape.split(",")]
    space = net("d = Neg(x) [clip] y = Clip(d, a, b)", -np.ones(sizes, F32), shape=shape, a=F32(0), b=F32(6))
    assert never_reached(space, [node for node in space.graph.nodes if node.op == "Clip"]) == {"clip": 1.0}
