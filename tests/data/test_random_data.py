"""Random data is loud about being random, and never guesses a length that matters."""

import numpy as np
import pytest

from onnxq.data.random_data import random_source
from onnxq.errors import DataError
from onnxq.inputs import Dim, InputSpec


def spec(name: str, dtype: str, *shape: Dim) -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def test_numbers_by_dtype() -> None:
    inputs = (spec("x", "float16", "N", 50), spec("ids", "int64", None, 50), spec("mask", "bool", 4, 50))
    source = random_source(inputs, None, 0)
    assert source.count == 16 == len(list(source.chunks()))
    chunk = next(source.chunks())
    assert [chunk.arrays[name].dtype for name in ("x", "ids", "mask")] == [np.float16, np.int64, np.bool_]
    assert set(np.unique(chunk.arrays["ids"])) == {0, 1}
    assert "RANDOM NUMBERS" in source.description and "smoke tests only" in source.description


def test_more_samples_begin_with_the_same_ones() -> None:
    inputs = (spec("x", "float32", "N", 5),)
    few, many = (np.concatenate([c.arrays["x"] for c in random_source(inputs, n, 3).chunks()]) for n in (4, 9))
    np.testing.assert_array_equal(many[:4], few)
    other = next(random_source(inputs, 1, 4).chunks()).arrays["x"]
    assert (other != few[:1]).all()


def test_free_sides_of_images_are_224() -> None:
    chunk = next(random_source((spec("x", "float32", "N", 3, "H", None),), 1, 0).chunks())
    assert chunk.arrays["x"].shape == (1, 3, 224, 224)
    source = random_source((spec("x", "float32", "N", "H", 64, 1),), 1, 0)
    assert next(source.chunks()).arrays["x"].shape == (1, 224, 64, 1)
    assert "x [224, 64, 1]" in source.description


def test_other_free_sides_ask_for_real_data() -> None:
    with pytest.raises(DataError, match=r"input 'ids' is int64\[N,length\]; its axis 1 is free"):
        random_source((spec("ids", "int64", "N", "length"),), None, 0)


def test_whole_feeds_where_inputs_share_no_batch_axis() -> None:
    inputs = (spec("x", "float32", "N", 8), spec("state", "float32", 2, "N", 4), spec("rate", "int64"))
    chunk = next(random_source(inputs, 1, 0).chunks())
    assert {name: array.shape for name, array in chunk.arrays.items()} == {
        "x": (1, 1, 8),
        "state": (1, 2, 1, 4),
        "rate": (1,),
    }


def test_text_asks_for_real_data() -> None:
    with pytest.raises(DataError, match="'x' takes text"):
        list(random_source((InputSpec("x", np.dtype(object), ("N", 2)),), None, 0).chunks())
