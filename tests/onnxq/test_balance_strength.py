"""The strength that errs least is found, and what does not gain is left alone."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.arrays import Vector
from onnxq.balance_groups import Group, groups
from onnxq.balance_strength import STRENGTHS, choose, factors
from onnxq.testing import normal, parse, workspace

REACH = {"n": np.array([8.0, 1.0, 0.5, 4.0])}


def group(**weights: NDArray[np.float32]) -> Group:
    text = "g (float[N,3,4] x) => (float[N,3,6] y) { n = LayerNormalization(x, s) [a] y = MatMul(n, w) }"
    given: dict[str, Any] = {"s": np.ones(4, np.float32), "w": np.ones((4, 6), np.float32), **weights}
    (found,) = groups(workspace(parse(text, **given)).graph, makers_pay=False)
    return found


def test_strength_one_gives_channels_one_range_and_strength_zero_weights() -> None:
    w = normal(4, 6)
    one, zero = (factors(group(w=w), REACH, np.ones(4), strength) for strength in (1.0, 0.0))
    np.testing.assert_allclose(REACH["n"] * one, 8)
    reach = np.abs(w).max(axis=1) / zero
    np.testing.assert_allclose(reach, reach[0], rtol=1e-6)
    assert one.min() == zero.min() == 1


def test_channels_that_are_as_good_as_dead_keep_what_they_have() -> None:
    reach = {"n": np.array([8.0, 0.0, 1e-4, 4.0])}
    found = factors(group(), reach, np.ones(4), 1.0)
    np.testing.assert_allclose(found, [1, 1, 1, 2])
    nothing = {"n": np.zeros(4)}
    np.testing.assert_array_equal(factors(group(), nothing, np.ones(4), 1.0), 1)


@pytest.mark.parametrize("best", STRENGTHS)
def test_the_best_strength_is_found_from_where_it_starts(best: float) -> None:
    wanted = np.log(factors(group(w=normal(4, 6)), REACH, np.ones(4), best))

    def error(factor: Vector) -> Vector:
        return np.array([1e-6 + np.square(np.log(factor) - wanted).sum()])

    found, gained = choose(group(w=normal(4, 6)), REACH, error, 1.0, 1.0)
    np.testing.assert_allclose(np.log(found), wanted, atol=1e-6)
    assert gained > 20


def test_what_gains_too_little_is_left_alone() -> None:
    def error(factor: Vector) -> Vector:
        return np.array([1.0 if np.all(factor == 1) else 0.5])

    assert choose(group(), REACH, error, 2.9, 1.0)[1] == pytest.approx(3.01, abs=0.01)
    found, gained = choose(group(), REACH, error, 3.1, 1.0)
    assert gained == 0 and np.all(found == 1)


def test_where_nothing_errs_nothing_is_gained() -> None:
    assert choose(group(), REACH, lambda factor: np.zeros(1), 1.0, 1.0)[1] == 0
