"""Pieces of any length become batches of one size."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxq.data.batches import Batch, Piece, rebatch


def piece(start: int, count: int, width: int = 1, whole: bool = False) -> Piece:
    x = np.repeat(np.arange(start, start + count)[:, None], width, 1)
    return Piece(Batch({"x": x}, x[:, 0], count, start), whole)


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=8), size=st.integers(1, 12), fill=st.booleans())
def test_batches_join_to_the_whole(counts: list[int], size: int, fill: bool) -> None:
    starts = np.cumsum([0, *counts])
    given_pieces = [piece(int(start), count) for start, count in zip(starts, counts, strict=False)]
    batches = list(rebatch(given_pieces, size, fill))
    real = np.concatenate([batch.feeds["x"][: batch.count, 0] for batch in batches])
    np.testing.assert_array_equal(real, np.arange(sum(counts)))
    for batch in batches:
        assert batch.labels is not None
        assert batch.start == batch.feeds["x"][0, 0]
        assert len(batch.labels) == batch.count
        assert len(batch.feeds["x"]) == (size if fill else batch.count)
    assert all(batch.count == size for batch in batches[:-1])


def test_the_last_sample_fills_a_fixed_batch() -> None:
    batches = list(rebatch([piece(0, 5)], 4, fill=True))
    np.testing.assert_array_equal(batches[1].feeds["x"][:, 0], [4, 4, 4, 4])
    assert (batches[1].count, batches[1].start) == (1, 4)


def test_a_change_of_shape_ends_a_batch() -> None:
    batches = list(rebatch([piece(0, 3), piece(3, 2, width=2)], 4, fill=False))
    assert [batch.feeds["x"].shape for batch in batches] == [(3, 1), (2, 2)]


def test_whole_feeds_pass_through() -> None:
    batches = list(rebatch([piece(0, 3), piece(3, 7, whole=True), piece(10, 1)], 4, fill=False))
    assert [batch.count for batch in batches] == [3, 7, 1]
