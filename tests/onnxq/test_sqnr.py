"""Signal over error, and what is neither finite nor float."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, normal


@pytest.mark.parametrize("seed", range(5))
def test_sqnr_is_signal_over_error(seed: int) -> None:
    one, two = normal(3, 50, seed=seed), normal(3, 50, seed=seed) + normal(3, 50, seed=99, scale=0.01)
    wanted = 10 * np.log10((one.astype(float) ** 2).sum() / ((one.astype(float) - two) ** 2).sum())
    assert sqnr_db(one, two) == pytest.approx(wanted)
    assert 35 < wanted < 45


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        ([1.0, np.nan, np.inf], [1.0, np.nan, np.inf], np.inf),
        ([1.0, np.nan], [1.0, 2.0], -np.inf),
        ([1.0, 2.0], [1.0, np.inf], -np.inf),
        ([0.0, 0.0], [0.0, 1.0], -np.inf),
        ([1.0, np.nan], [1.1, np.nan], 20.0),
        ([1.0, 2.0], [1.0], -np.inf),
        (np.array([1, 2]), np.array([1, 2]), np.inf),
        (np.array([1, 2]), np.array([1, 3]), -np.inf),
    ],
)
def test_sqnr_of_what_is_not_finite_not_float_or_of_another_shape(
    one: list[float] | Array, two: list[float] | Array, found: float
) -> None:
    first: NDArray[np.generic] = np.asarray(one)
    assert sqnr_db(first, np.asarray(two)) == pytest.approx(found)
