"""A part of a large tensor is counted, and the extremes of its channels beside."""

import numpy as np
import pytest

from onnxq.statistics import Count
from onnxq.testing import normal
from onnxq.thinning import ROW, Reduced, by_part, thinned, thinning_of

SHAPES = [(16, 40, 50), (512, 5, 5), (3, 9, 40, 50), (60, 300), (300, 60), (2, 3, 4, 5, 6, 70), (20_000,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_those_that_are_counted_stand_for_all(shape: tuple[int, ...]) -> None:
    thinning, counted = thinning_of(shape), thinned(normal(1, *shape)).size
    assert ROW / 4 < counted <= ROW and thinning.each >= 2
    assert thinning.each * counted == pytest.approx(np.prod(shape), rel=0.15)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sign", [1, -1])
def test_extremes_are_found_among_those_that_are_counted(shape: tuple[int, ...], sign: int) -> None:
    values = normal(3, *shape)
    reduced, thinning = Reduced.of(values, some=True), thinning_of(shape)
    extremes = reduced.high if sign > 0 else reduced.low
    assert extremes is not None and reduced.some is not None
    hits = thinning.hits(extremes, reduced.some, sign)
    assert hits.shape == (3, len(thinning.parts))
    parts = by_part(values)
    for row in range(3):
        for place, part in enumerate(thinning.parts):
            extreme = parts[row, part].max() if sign > 0 else parts[row, part].min()
            assert hits[row, place] == (extreme if extreme in reduced.some[row] else 0)


@pytest.mark.parametrize("place", [0, 1])
def test_an_extreme_counts_once_whether_it_is_among_them_or_not(place: int) -> None:
    values = np.ones((1, 2, 100, 100), np.float32)
    values[0, 0, 0, place], values[0, 1, 0, place] = 7, -7
    count = Count()
    count.add(values, 1)
    found, times = count.kept().histogram()
    assert times[found == 7].sum() == times[found == -7].sum() == 1


def test_weights_that_differ_within_a_part_count_no_extremes() -> None:
    values = np.zeros((1, 10, 5000), np.float32)
    values[0, 0, 1] = 7
    for weights, times in ((np.repeat(np.arange(1, 11), 5000), 1), (np.tile(np.arange(5000), 10), 0)):
        count = Count(weigh=lambda shape, weights=weights: weights)  # type: ignore[misc]
        count.add(values, 1)
        counts = count.kept().counts
        assert counts is not None
        assert counts[np.array([7], np.float32).view(np.uint32)[0] >> 16] == times
