"""Sources of arrays."""

import numpy as np
import pytest

from onnxq.data.arrays import Held
from onnxq.data.sources import Calls, Joined, arrays_source
from onnxq.errors import DataError
from onnxq.inputs import InputSpec

X = InputSpec("x", np.dtype(np.float32), ("N", 3))


def test_labels_are_apart_unless_the_model_has_such_an_input() -> None:
    arrays = {"x": Held(np.ones((2, 3), np.float32)), "labels": Held(np.array([4, 5]))}
    chunk = next(arrays_source("d", arrays, [X]).chunks())
    assert list(chunk.arrays) == ["x"] and chunk.labels is not None
    labels = InputSpec("labels", np.dtype(np.int64), ("N",))
    chunk = next(arrays_source("d", arrays, [X, labels]).chunks())
    assert list(chunk.arrays) == ["x", "labels"] and chunk.labels is None


def test_chunks_stay_small() -> None:
    wide = arrays_source("d", {"x": Held(np.ones((9, 1 << 17), np.float32))}, [X])
    assert [chunk.count for chunk in wide.chunks()] == [2, 2, 2, 2, 1]


def test_empty_and_unequal_arrays_are_refused() -> None:
    with pytest.raises(DataError, match="d: holds 0 samples"):
        arrays_source("d", {"x": Held(np.ones((0, 3)))}, [X])
    with pytest.raises(DataError, match="d: holds no arrays"):
        arrays_source("d", {}, [X])
    with pytest.raises(DataError, match="'x' has 2 samples and 'labels' has 3"):
        arrays_source("d", {"x": Held(np.ones((2, 3))), "labels": Held(np.ones(3))}, [X])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.ones(3), "gave a ndarray; a dict of arrays by input"),
        ({"x": [[1], [1, 2]]}, "'x' is not an array"),
        ({"x": "text"}, "'x' is not an array of numbers"),
    ],
)
def test_calls_that_give_no_feeds(given: object, said: str) -> None:
    with pytest.raises(DataError, match=f"^f: {said}"):
        list(Calls("f", lambda: [given]).chunks())  # type: ignore[list-item]


def test_a_function_that_gives_nothing() -> None:
    with pytest.raises(DataError, match="f: gave a NoneType; yield or return feeds"):
        list(Calls("f", lambda: None).chunks())  # type: ignore[arg-type, return-value]


def test_joined_counts_what_all_know() -> None:
    known = arrays_source("d", {"x": Held(np.ones((2, 3)))}, [X])
    assert Joined("j", (known, known)).count == 4
    assert Joined("j", (known, Calls("f", list))).count is None
