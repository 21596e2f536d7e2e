"""Chunks count their samples and can be cut short."""

import numpy as np
import pytest

from onnxq.data.chunks import Chunk, common_count
from onnxq.errors import DataError


def test_first_cuts_arrays_and_labels() -> None:
    chunk = Chunk("d", {"x": np.arange(5)}, np.arange(5)).first(3)
    assert chunk.count == 3 and chunk.labels is not None and len(chunk.labels) == 3
    assert chunk.first(9) is chunk


def test_first_leaves_a_whole_feed_whole() -> None:
    chunk = Chunk("d", {"x": np.ones((8, 2)), "y": np.ones(3)}, worth=8).first(3)
    assert chunk.count == 3 and len(chunk.arrays["x"]) == 8


def test_a_count_all_agree_on() -> None:
    assert common_count("d", {"x": (4, 2), "y": (4,)}) == 4
    with pytest.raises(DataError, match="d: 'x' has 4 samples and 'y' has 5"):
        common_count("d", {"x": (4, 2), "y": (5,)})
    with pytest.raises(DataError, match="'labels' has 2"):
        _ = Chunk("d", {"x": np.arange(5)}, np.arange(2)).count
