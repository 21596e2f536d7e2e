"""A budget of bits, split over layers."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.solving import budget as module
from onnxq.solving.budget import GAP, average, require_highs, split


def layers(count: int, seed: int) -> tuple[list[dict[int, float]], list[int]]:
    """Effects that fall by about 6 dB a bit, with layers of very unlike sizes and weight."""
    draw = np.random.default_rng(seed)
    effects = [
        {bits: float(reach * draw.uniform(0.6, 1.4) * 4.0**-bits) for bits in range(2, 9)}
        for reach in 10 ** draw.uniform(-5, 0, count)
    ]
    return effects, [int(size) for size in 10 ** draw.uniform(1, 6, count)]


def total(effects: Sequence[Mapping[int, float]], bits: Sequence[int]) -> float:
    return sum(found[width] for found, width in zip(effects, bits, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_best_of_all_ways(seed: int) -> None:
    effects, sizes = layers(4, seed)
    wanted = float(np.random.default_rng(seed).uniform(2.1, 7))
    found = split(effects, sizes, wanted)
    assert average(found, sizes) <= wanted
    ways = [way for way in itertools.product(range(2, 9), repeat=4) if average(way, sizes) <= wanted]
    assert total(effects, found) <= min(total(effects, way) for way in ways) * (1 + 2 * GAP)


@pytest.mark.parametrize("seed", range(3))
def test_many_layers_use_the_budget_up_and_get_the_same_bits_every_time(seed: int) -> None:
    effects, sizes = layers(120, seed)
    found = split(effects, sizes, 4.5)
    assert 4.49 < average(found, sizes) <= 4.5
    assert total(effects, found) < 0.7 * total(effects, [4] * 120)
    assert split(effects, sizes, 4.5) == found
    noisy = [{bits: effect * (1 + 1e-12) for bits, effect in entry.items()} for entry in effects]
    assert split(noisy, sizes, 4.5) == found  # as of sums in another order


def test_no_layer_gets_bits_that_do_it_no_good() -> None:
    effects: list[dict[int, float]] = [{2: 1.0, 3: 0.1, 4: 0.1, 8: 0.2}, {2: 0.0, 8: 0.0}]
    assert split(effects, [10, 10], 8) == [3, 2]
    assert split(effects, [10, 10], 2.4) == [2, 2]


def test_a_budget_that_uniform_bits_keep_exactly() -> None:
    effects: list[dict[int, float]] = [{bits: 4.0**-bits for bits in range(2, 9)}] * 5
    assert split(effects, [1000] * 5, 4) == [4] * 5


def test_a_budget_below_the_fewest_bits_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"a budget of 3 bits cannot be kept: .* have 4 at least. Give more"):
        split([{4: 1.0, 8: 0.1}], [10], 3)


def test_without_highs_the_error_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"HiGHS, which is not installed.*pip install 'onnxq\[budget\]'"):
        require_highs()
