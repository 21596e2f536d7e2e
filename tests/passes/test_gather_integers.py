"""A table of integers is gathered from, and only what was gathered is dequantized."""

from typing import Any

import numpy as np
import pytest

from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.gather_integers import GatherIntegers
from onnxq.testing import Array, changes_nothing, normal, ops, parse, run, workspace
from onnxq.workspace import Workspace

EMBEDDING = "g (int64[N,3] i) => (float[N,3,8] y) { [pick] e = Gather(t, i) [fc] y = MatMul(e, w) }"
IDS = np.random.default_rng(1).integers(0, 600, (4, 3))


def quantized(per_channel: bool = True, text: str = EMBEDDING, **weights: Any) -> Workspace:
    """As the graph is before any lowering."""
    space = workspace(parse(text, **{"t": normal(600, 8), "w": normal(8, 8), **weights}), {"i": IDS})
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(per_channel=per_channel), InsertQdq()):
        step(space)
    return space


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_same_numbers_are_gathered_as_integers(per_channel: bool) -> None:
    space = quantized(per_channel)
    before = run(space, i=IDS)["y"]
    assert GatherIntegers()(space)
    kinds = ops(space)
    assert kinds[kinds.index("Gather") + 1] == "DequantizeLinear"
    np.testing.assert_array_equal(run(space, i=IDS)["y"], before)
    assert changes_nothing(space, GatherIntegers())


def test_two_readers_of_a_table_gather_for_themselves() -> None:
    text = """g (int64[N,3] i) => (float[N,3,8] y) { [pick] e = Gather(t, i) [again] f = Gather(t, i) s = Sub(e, f)
        [fc] z = MatMul(s, w) y = Add(z, e) }"""
    space = quantized(text=text)
    before = run(space, i=IDS)["y"]
    assert GatherIntegers()(space)
    assert ops(space).count("Gather") == 2
    np.testing.assert_array_equal(run(space, i=IDS)["y"], before)


def test_what_is_gathered_across_rows_or_is_no_constant_stays() -> None:
    text = "g (int64[N,3] i, float[9,8] x) => (float[N,3,8] y) { e = Gather(x, i) [fc] y = MatMul(e, w) }"
    feeds: dict[str, Array] = {"i": np.ones((1, 1, 3), np.int64), "x": normal(1, 9, 8)}
    space = workspace(parse(text, w=normal(8, 8)), feeds)
    for step in (PlanIntegers(), Calibrate("minmax"), RoundWeights(), InsertQdq()):
        step(space)
    assert changes_nothing(space, GatherIntegers())
