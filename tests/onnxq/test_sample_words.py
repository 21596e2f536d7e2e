"""Every sample has a word of its own, which does not depend on how samples are stored."""

import numpy as np

from onnxq.inputs import InputSpec
from onnxq.sample_words import words
from onnxq.samples import open_samples
from onnxq.testing import normal

X = normal(6, 4)


def spec(batch: int | None = None) -> list[InputSpec]:
    return [InputSpec("x", np.dtype(np.float32), (batch, 4))]


def test_the_same_samples_have_the_same_words() -> None:
    found = words(open_samples(X, spec()))
    assert len(set(found.tolist())) == 6
    np.testing.assert_array_equal(found, words(open_samples([{"x": X[:2]}, {"x": X[2:]}], spec())))
    np.testing.assert_array_equal(found[:3], words(open_samples(X, spec(), limit=3)))


def test_what_fills_a_fixed_batch_up_is_no_sample() -> None:
    found = words(open_samples(X, spec(4)))
    np.testing.assert_array_equal(found, words(open_samples(X, spec())))


def test_one_number_more_or_less_is_another_sample() -> None:
    other = X.copy()
    other[3, 2] += 1e-6
    assert (words(open_samples(X, spec())) != words(open_samples(other, spec()))).tolist() == [False] * 3 + [
        True,
        False,
        False,
    ]
