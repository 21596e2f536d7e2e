"""Sums of products of columns: exact enough, the same whatever the batch, and spread evenly."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.columns import Rows
from onnxq.second_moments import CHUNK, TILE, Moments, SecondMoments
from onnxq.testing import Array, normal
from onnxq.windows import Windows

ROWS = SecondMoments("x", Rows(6))
IMAGES = SecondMoments("x", Windows(2, 2, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)))


def summed(watcher: SecondMoments, array: Array, batch: int, each: int | None = None) -> Moments:
    accumulator = replace(watcher, each=each).begin()
    for start in range(0, len(array), batch):
        part = array[start : start + batch]
        accumulator.add(part, len(part))
    return accumulator.kept()


def exact(watcher: SecondMoments, array: Array) -> list[np.ndarray]:
    every = np.arange(watcher.columns.positions(array.shape))
    columns = watcher.columns.take(array, every).astype(np.float64)
    return list(columns @ np.swapaxes(columns, 1, 2))


def assert_close(found: Moments, watcher: SecondMoments, array: Array, tolerance: float = 1e-5) -> None:
    for group, expected in enumerate(exact(watcher, array)):
        power = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert (np.abs(found.blocks[0][group] - expected) <= tolerance * power).all()


@pytest.mark.parametrize(("watcher", "array"), [(ROWS, normal(700, 6)), (IMAGES, normal(9, 4, 8, 7))])
def test_they_are_those_of_float64(watcher: SecondMoments, array: Array) -> None:
    assert_close(summed(watcher, array, 4), watcher, array)


@pytest.mark.parametrize(("mean", "spread"), [(0.1, 0.0), (0.0, 1.0), (100.0, 1.0)])
def test_a_million_columns_of_a_large_mean_keep_their_digits(mean: float, spread: float) -> None:
    array = normal(10**6, 3, scale=spread) + np.float32(mean)
    watcher = SecondMoments("x", Rows(3))
    assert_close(summed(watcher, array, 10**5), watcher, array)


@pytest.mark.parametrize("each", [None, 5, 1])
@pytest.mark.parametrize(("watcher", "array"), [(ROWS, normal(2 * CHUNK + 9, 6)), (IMAGES, normal(17, 4, 8, 7))])
def test_no_byte_depends_on_the_batch(watcher: SecondMoments, array: Array, each: int | None) -> None:
    one, other = (summed(watcher, array, batch, each) for batch in (1, 7))
    assert one.columns == other.columns
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.blocks, other.blocks, strict=True))


def test_parts_merge() -> None:
    array = normal(600, 6)
    merged = summed(ROWS, array[:250], 50).merge(summed(ROWS, array[250:], 50))
    assert merged.columns == 600
    assert_close(merged, ROWS, array)


def test_blocks_are_those_of_the_diagonal() -> None:
    array = normal(300, 6)
    whole, found = (summed(replace(ROWS, blocks=blocks), array, 100) for blocks in ((), (4, 2)))
    assert found.slices == (slice(0, 4), slice(4, 6))
    for part, block in zip(found.slices, found.blocks, strict=True):
        np.testing.assert_allclose(block[0], whole.blocks[0][0][part, part], rtol=1e-6)


@pytest.mark.parametrize("size", [3, 147, TILE - 1, TILE + 40])
def test_they_are_symmetric_to_the_last_bit(size: int) -> None:
    watcher, array = SecondMoments("x", Rows(size)), normal(60, size)
    found = summed(watcher, array, 60)
    np.testing.assert_array_equal(found.blocks[0], np.swapaxes(found.blocks[0], 1, 2))
    assert_close(found, watcher, array)


def test_positions_are_spread_over_samples_and_over_the_image() -> None:
    """A pixel of every image is one; which of 56 it is, is told by its value."""
    image = np.arange(56, dtype=np.float32).reshape(1, 1, 8, 7)
    pixels = SecondMoments("x", Windows(1, 56, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)), each=4)
    one_hot = np.eye(56, dtype=np.float32)[image.astype(int)[0, 0]].transpose(2, 0, 1)[np.newaxis]
    accumulator = pixels.begin()
    for _ in range(14):  # 14 images of 4 positions: each of the 56 once
        accumulator.add(one_hot, 1)
    found = accumulator.kept()
    np.testing.assert_array_equal(found.blocks[0][0], np.eye(56))
    first = pixels.begin()
    first.add(one_hot, 1)
    seen = np.flatnonzero(np.diag(first.kept().blocks[0][0]))
    assert np.diff(seen).max() <= 2 * 56 / 4


def test_the_error_of_a_layer_is_a_form_of_them() -> None:
    array, difference = normal(9, 4, 8, 7), normal(2, 3, 18, seed=1)
    every = np.arange(IMAGES.columns.positions(array.shape))
    made = difference.astype(np.float64) @ IMAGES.columns.take(array, every)
    np.testing.assert_allclose(summed(IMAGES, array, 3).error(difference), (made**2).sum(axis=2), rtol=1e-5)


def test_what_is_not_a_number_shows() -> None:
    assert not summed(ROWS, np.full((3, 6), np.nan, np.float32), 3).finite
    assert summed(ROWS, normal(3, 6), 3).finite


def test_a_tensor_without_elements_adds_nothing() -> None:
    found = summed(ROWS, np.zeros((1, 6), np.float32)[:0], 1)
    assert found.columns == 0 and not found.blocks[0].any()
