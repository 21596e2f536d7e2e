"""Moments of clipped normal channels, against samples of them."""

import numpy as np
import pytest

from onnxq.normal import Normal

INF = float("inf")


@pytest.mark.parametrize(("low", "high"), [(0.0, INF), (0.0, 6.0), (-1.0, 1.0), (-INF, INF), (-INF, 0.5)])
def test_the_mean_of_a_clipped_normal_is_that_of_clipped_samples(low: float, high: float) -> None:
    channels = Normal(np.array([-2.0, 0.0, 1.0, 7.0]), np.array([0.5, 1.0, 3.0, 0.1]))
    drawn = np.random.default_rng(0).normal(channels.mean, channels.std, (400_000, 4))
    np.testing.assert_allclose(channels.clipped_mean(low, high), np.clip(drawn, low, high).mean(axis=0), atol=0.02)


def test_a_channel_that_does_not_vary_is_clipped_itself() -> None:
    assert Normal(np.array([-1.0, 3.0, 9.0]), np.zeros(3)).clipped_mean(0, 6).tolist() == [0, 3, 6]


def test_a_factor_scales_the_mean_and_the_spread_and_a_shift_moves_the_mean() -> None:
    moved = Normal(np.array([1.0, 2.0]), np.array([1.0, 3.0])).scaled(np.array([-2.0, 0.5])).shifted(np.array([1.0, 1]))
    assert (moved.mean.tolist(), moved.std.tolist()) == ([-1.0, 2.0], [2.0, 1.5])
