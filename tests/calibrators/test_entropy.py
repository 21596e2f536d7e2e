"""The entropy range, against Kullback and Leibler's divergence on the values themselves."""

import numpy as np
import pytest

from onnxq.calibrators import Entropy, MinMax
from onnxq.scheme import ActivationSchemes, Range, Scheme, Steps, held, qparams
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal
from slow_references import best_even_range, best_range, divergence, statistics_of, values_of

U8, I8, UNSIGNED = Scheme(False, False), Scheme(True, True), Scheme(False, True)
PARTS = 5  # bins to an integer of 8 bits
SIZE = 4_000_000  # the divergence tells of the rarest values, so a few too many or too few of them show


def chosen(statistics: TensorStatistics, scheme: Scheme) -> tuple[float, float]:
    found = Entropy().range(statistics, ActivationSchemes.always(scheme))
    return float(found.low), float(found.high)


@pytest.mark.parametrize("name", ["heavy-tailed", "laplace", "uniform", "bimodal", "half-normal"])
def test_the_range_is_the_one_that_brute_force_finds_on_the_values_to_one_percent(name: str) -> None:
    values = values_of(name, SIZE)
    expected = best_even_range(divergence(values, I8, PARTS), values)
    low, high = chosen(statistics_of(values), I8)
    assert (min(low, 0.0), high) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("heavy-tailed", U8), ("uniform", U8), ("bimodal", U8), ("half-normal", U8), ("half-normal", UNSIGNED)],
)
def test_the_divergence_is_nearly_the_least_on_unsigned_and_asymmetric_grids(name: str, scheme: Scheme) -> None:
    values = values_of(name, SIZE)
    cost = divergence(values, scheme, PARTS)
    if values.min() < 0:
        rough = divergence(values[:200_000], scheme, PARTS)
        least = best_range(rough, cost, values)
    else:
        least = best_even_range(cost, values, 300)
    assert cost(*chosen(statistics_of(values), scheme)) <= 1.1 * cost(*least) + 1e-5


def test_outliers_are_clipped_and_a_uniform_tensor_is_not() -> None:
    values = normal(1000, 1000)
    values[0, 0] = 1000
    assert chosen(statistics_of(values), U8)[1] < 100
    values = values_of("uniform", 1_000_000)
    assert chosen(statistics_of(values), I8) == pytest.approx((-1, 1), rel=0.01)


def test_of_tensors_with_many_zeros_the_other_values_decide() -> None:
    values = np.maximum(normal(1000, 1000), 0)
    low, high = chosen(statistics_of(values), UNSIGNED)
    assert low == 0 and 3.5 < high <= values.max()


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_the_fewer_bits_the_more_is_clipped(bits: int) -> None:
    statistics = statistics_of(values_of("laplace", 1_000_000))
    fewer, more = (chosen(statistics, Scheme(True, True, bits=n)) for n in (bits, bits + 2))
    assert fewer[1] < 0.95 * more[1]


def test_a_grid_that_is_finer_than_the_histogram_gets_all_that_was_seen() -> None:
    statistics = statistics_of(normal(1000, 1000))
    wide = ActivationSchemes.always(Scheme(False, False, bits=16))
    assert Entropy().range(statistics, wide) == MinMax().range(statistics, wide)


@pytest.mark.parametrize("steps", [Steps.POWER_OF_TWO, Steps.LOGARITHMIC])
def test_where_only_some_grids_exist_one_of_them_is_chosen(steps: Steps) -> None:
    scheme = Scheme(True, True, steps=steps)
    found = chosen(statistics_of(normal(1000, 1000)), scheme)
    grid = held(qparams(scheme, Range.of(*found)))
    assert (float(grid.low), float(grid.high)) == pytest.approx(found)


@pytest.mark.parametrize("values", [[[3.0, 3.0]], [[-2.0, -2.0]], [[0.0, 1.0]], [[-1e-30, 1e30]]])
def test_few_values_have_a_range_too(values: list[list[float]]) -> None:
    statistics = TensorStatistics.of(np.array(values, np.float32))
    for scheme in (U8, I8):
        low, high = chosen(statistics, scheme)
        assert np.isfinite([low, high]).all() and low <= max(high, statistics.low)
