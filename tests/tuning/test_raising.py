"""The nodes that are raised are those of least work, as trying all of them finds."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.backends import backend_of
from onnxq.passes import PlanIntegers, RoundWeights
from onnxq.recipe import RECIPES
from onnxq.tuning.raising import EACH, Raise, chosen, raises
from onnxq.tuning.sensitivity import Grid, Sensitivity

FLOAT = raises(RECIPES["default"], backend_of("openvino"))[-1]


def cost(known: Sensitivity, nodes: tuple[str, ...]) -> float:
    return sum(known.work[name] / sum(known.work.values()) + EACH for name in nodes)


def noise(known: Sensitivity, nodes: tuple[str, ...]) -> float:
    return sum(grid.noise for grid in known.grids if grid.stays or not grid.readers <= set(nodes))


@st.composite
def sensitivities(draw: st.DrawFn) -> Sensitivity:
    names = [f"n{i}" for i in range(draw(st.integers(1, 5)))]
    work = {name: draw(st.integers(0, 1000)) for name in names}
    work[names[0]] += 1
    grids = []
    for index in range(draw(st.integers(1, 6))):
        readers = draw(st.sets(st.sampled_from(names), min_size=1, max_size=2))
        value = draw(st.sampled_from([0.001, 0.01, 0.02, 0.1, 0.5]))
        grids.append(Grid(f"t{index}", draw(st.booleans()), value, frozenset(readers), draw(st.booleans())))
    return Sensitivity(tuple(grids), work)


@settings(max_examples=60, deadline=None)
@given(sensitivities(), st.floats(0, 1))
def test_as_brute_force_finds(known: Sensitivity, level: float) -> None:
    left = level * sum(grid.noise for grid in known.grids)
    found = chosen(known, FLOAT, left)
    names = tuple(known.work)
    every = [nodes for size in range(len(names) + 1) for nodes in combinations(names, size)]
    least = min((cost(known, nodes) for nodes in every if noise(known, nodes) <= left + 1e-9), default=None)
    if least is None:
        assert found == names
    else:
        assert noise(known, found) <= left * 1.01 + 1e-4
        assert cost(known, found) <= least * 1.01 + 2e-3


def test_a_way_that_does_away_with_too_little_raises_all() -> None:
    known = Sensitivity((Grid("w", True, 0.1, frozenset("a")), Grid("x", False, 0.9, frozenset("b"))), {"a": 1, "b": 1})
    weights_only = Raise("weights", lambda recipe, nodes: recipe, lambda grid: grid.weight)
    assert chosen(known, weights_only, 0.5) == ("a", "b")
    assert chosen(known, weights_only, 0.95) == ("a",)


def test_what_a_recipe_and_a_backend_have() -> None:
    low = RECIPES["default"].changed(RoundWeights, bits=4)
    assert [way.name for way in raises(RECIPES["default"], backend_of("openvino"))] == ["float:"]
    assert [way.name for way in raises(low, backend_of("openvino"))] == ["weights of 8 bits in", "float:"]
    wide = [way.name for way in raises(low, backend_of("qnn"))]
    assert wide == ["weights of 8 bits in", "activations of 16 bits for", "float:"]


def test_the_recipe_says_which_nodes() -> None:
    low = RECIPES["default"].changed(RoundWeights, bits={"default": 4, "first": 6})
    bits, activations, floats = raises(low, backend_of("qnn"))
    changed = activations.change(floats.change(bits.change(low, ["a.b"]), ["c"]), ["d"])
    rounds = next(step for step in changed.passes if isinstance(step, RoundWeights))
    plan = next(step for step in changed.passes if isinstance(step, PlanIntegers))
    assert rounds.bits == {r"^a\.b$": 8, "default": 4, "first": 6}
    assert plan.exclude == ("^c$",) and plan.activation_bits == {"^d$": 16}


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
def test_noise_of_any_size(scale: float) -> None:
    grids = tuple(Grid(f"w{i}", True, scale * (i + 1), frozenset([f"n{i}"])) for i in range(5))
    known = Sensitivity(grids, {f"n{i}": 10 for i in range(5)})
    assert chosen(known, FLOAT, scale * np.sum([1, 2, 3])) == ("n3", "n4")
