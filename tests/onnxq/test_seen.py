"""Batches are joined where that says the same."""

import numpy as np

from onnxq.seen import Seen, joined
from onnxq.testing import normal


def test_batches_of_the_same_form_become_one() -> None:
    parts = [Seen({"a": normal(n, 3, seed=n), "b": normal(2 * n, seed=n)}, n) for n in (1, 4, 2)]
    (whole,) = joined(parts)
    assert whole.samples == 7 and whole.nbytes == sum(part.nbytes for part in parts)
    for name in ("a", "b"):
        np.testing.assert_array_equal(whole.arrays[name], np.concatenate([part.arrays[name] for part in parts]))


def test_batches_whose_rows_are_of_no_known_sample_or_another_form_stay_apart() -> None:
    usual = Seen({"a": normal(4, 3)}, 2)
    assert len(joined([usual, usual])) == 1
    for other in (normal(6, 3), normal(3, 3), normal(4, 2), np.array(1.0, np.float32)):
        assert len(joined([usual, Seen({"a": other}, 2)])) == 2
    assert list(joined([])) == []
