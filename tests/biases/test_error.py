"""What halves of the samples agree on is corrected, and the gain is what the other half has of it."""

import math

import numpy as np
import pytest

from onnxq.biases.error import BiasError
from onnxq.testing import Array, normal


def seen(shifts: list[list[float]], noise: float = 0.01, shape: tuple[int, ...] = (4, 2, 5, 5)) -> BiasError:
    """Batches whose quantized output lacks ``shifts``, one for each channel, and some noise."""
    found = BiasError()
    for at, shift in enumerate(shifts):
        wanted = normal(*shape, seed=at)
        lost = np.asarray(shift, np.float32).reshape(1, -1, *[1] * (len(shape) - 2))
        found.add(wanted, wanted - lost + normal(*shape, seed=100 + at, scale=noise), 1)
    return found


def test_a_shift_of_all_batches_is_found() -> None:
    found = seen([[0.5, -0.2]] * 6)
    np.testing.assert_allclose(found.correction(), [0.5, -0.2], atol=0.002)
    before, after = found.sqnr_db()
    assert before == pytest.approx(10 * math.log10(1 / (0.29 / 2 + 1e-4)), abs=0.3)
    assert after == pytest.approx(40, abs=0.5)


def test_what_halves_do_not_agree_on_is_left() -> None:
    found = seen([[0.5, 0.3], [-0.5, 0.2]] * 3)
    np.testing.assert_allclose(found.correction(), [0, 0.25], atol=0.002)
    far = seen([[0.5, 0.0], [0.1, 0.0]] * 3, noise=0)  # each would overshoot for the other
    np.testing.assert_array_equal(far.correction(), [0, 0])
    assert far.sqnr_db()[0] == far.sqnr_db()[1]


def test_larger_batches_weigh_more() -> None:
    found = seen([[0.1, 0.1]] * 2, noise=0)
    wanted = normal(12, 2, 5, 5)
    for _ in range(2):
        found.add(wanted, wanted - np.float32(0.2), 1)
    np.testing.assert_allclose(found.correction(), [0.175, 0.175], rtol=1e-4)


def test_channels_may_be_last() -> None:
    found, wanted = BiasError(), normal(3, 7, 4)
    for _ in range(2):
        found.add(wanted, wanted - np.arange(4, dtype=np.float32), -1)
    np.testing.assert_allclose(found.correction(), np.arange(4), atol=1e-5)


@pytest.mark.parametrize("made", [np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.zeros((1, 3))])
def test_no_numbers_are_no_use(made: Array) -> None:
    found = BiasError()
    found.add(normal(2, 3), made.astype(np.float32), 1)
    assert not found.usable
    assert seen([[0.5, 1.0]] * 2).usable
