"""Statistics are refused where they are of something else, and merge as their samples do."""

from typing import Any

import numpy as np
import pytest

from onnxq.errors import DataError
from onnxq.measured import Measured
from onnxq.statistics import TensorStatistics
from onnxq.testing import Array, normal


def measured(start: int, stop: int, model: str = "m", description: str = "a.npz", **more: Any) -> Measured:
    known = {word: TensorStatistics.of(values(word)[start:stop]) for word in "ab"}
    return Measured(
        model,
        np.arange(start, stop, dtype=np.uint64),
        "",
        known,
        description=description,
        **more,
    )


def values(word: str) -> Array:
    return normal(10, 5, seed=ord(word))


def test_the_parts_merged_are_the_whole() -> None:
    merged, whole = measured(0, 4).merge(measured(4, 10)), measured(0, 10)
    np.testing.assert_array_equal(merged.samples, whole.samples)
    for word in "ab":
        assert (merged.known[word].low, merged.known[word].high) == (whole.known[word].low, whole.known[word].high)
        np.testing.assert_array_equal(merged.known[word].counts, whole.known[word].counts)
        assert merged.known[word].each().mean == whole.known[word].each().mean


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (measured(4, 10, model="n", description="b.npz"), "b.npz: measured on another model"),
        (measured(2, 10, description="b.npz"), "b.npz: 2 of its samples are in a.npz already"),
        (measured(4, 10, description="b.npz", begun={"a": TensorStatistics(0, 1)}, done=3), "b.npz: not finished"),
        (Measured("m", np.arange(4, 6, dtype=np.uint64), "", {}, description="b.npz"), "b.npz: has no tensor that"),
        (Measured("m", np.arange(4, 6, dtype=np.uint64), "{}", {}, description="b.npz"), "b.npz: measured with prepro"),
    ],
)
def test_what_cannot_be_merged_is_refused(other: Measured, said: str) -> None:
    with pytest.raises(DataError, match=said):
        measured(0, 4).merge(other)


def test_a_part_of_the_samples_is_as_good_as_all() -> None:
    measured(0, 10).check("m", np.array([7, 3], np.uint64), "")


@pytest.mark.parametrize(
    ("model", "samples", "preprocessing", "said"),
    [
        ("n", [1], "", "a.npz: measured on another model"),
        ("m", [1], '{"resize":4}', 'a.npz: measured with preprocessing none, and this one is {"resize":4}'),
        ("m", [1, 11, 12], "", r"a.npz: sample 2 is none of the 10 samples .*\(2 of 3 are not\)"),
    ],
)
def test_stale_statistics_are_refused_with_the_reason(
    model: str, samples: list[int], preprocessing: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        measured(0, 10).check(model, np.array(samples, np.uint64), preprocessing)
