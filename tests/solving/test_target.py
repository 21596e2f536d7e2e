"""A weight that is moved makes good what its layer reads otherwise, as far as that holds on other samples."""

from itertools import pairwise

import numpy as np
import pytest

from onnxq.second_moments import Moments
from onnxq.solving.grid import Matrix
from onnxq.solving.pairs import Pairs
from onnxq.solving.target import target


def pairs(x: Matrix, z: Matrix, blocks: tuple[int, ...]) -> Pairs:
    """Of columns [groups, size, count]."""
    parts = [slice(start, end) for start, end in pairwise(np.cumsum((0, *blocks)))]
    moments = tuple(z[:, part] @ np.swapaxes(z[:, part], 1, 2) for part in parts)
    shift = tuple((x - z)[:, part] @ np.swapaxes(z[:, part], 1, 2) for part in parts)
    return Pairs(Moments(moments, x.shape[2]), shift)


def columns(count: int, seed: int, groups: int = 2, size: int = 6) -> Matrix:
    return np.random.default_rng(seed).standard_normal((groups, size, count))


W = np.random.default_rng(9).standard_normal((2, 3, 6))


@pytest.mark.parametrize("blocks", [(6,), (4, 2)])
def test_what_is_read_right_moves_nothing(blocks: tuple[int, ...]) -> None:
    x = columns(50, 0)
    moved, part = target(W, pairs(x, x, blocks), pairs(columns(50, 1), columns(50, 1), blocks))
    np.testing.assert_array_equal(moved, W)
    assert not part.any()


@pytest.mark.parametrize("blocks", [(6,), (4, 2)])
def test_what_is_read_too_small_by_a_factor_is_taken_back(blocks: tuple[int, ...]) -> None:
    halves = [pairs(x, 0.8 * x, blocks) for x in (columns(500, 0), columns(500, 1))]
    moved, part = target(W, *halves)
    np.testing.assert_allclose(moved, W / 0.8, rtol=0.1)
    assert (part > 0.95).all()


def test_noise_of_few_samples_is_hardly_followed_and_that_of_many_is() -> None:
    def noisy(count: int, seed: int) -> tuple[Matrix, Matrix]:
        x = columns(count, seed)
        return x, x + 0.7 * columns(count, seed + 100)

    fresh_x, fresh_z = noisy(20000, 50)

    def error(weight: Matrix) -> float:
        return float(np.square(W @ fresh_x - weight @ fresh_z).sum())

    found = {count: target(W, *(pairs(*noisy(count, seed), (6,)) for seed in (1, 2))) for count in (7, 2000)}
    assert found[7][1].mean() < found[2000][1].mean() > 0.95
    fitted = W + target(W, *[pairs(*noisy(7, 1), (6,))] * 2)[0] - W  # both halves the same: nothing holds it back
    assert error(found[7][0]) < error(fitted)
    assert error(found[2000][0]) < 0.75 * error(W)


def test_moments_of_nothing_leave_the_weight() -> None:
    nothing = pairs(np.zeros((2, 6, 4)), np.zeros((2, 6, 4)), (6,))
    moved, _ = target(W, nothing, nothing)
    np.testing.assert_array_equal(moved, W)
