"""Likeness, against numpy's formulas."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxq.answers import Answers, answers, compare, score
from onnxq.errors import ModelError
from onnxq.execute import Session
from onnxq.inputs import InputSpec
from onnxq.metrics import Top1
from onnxq.samples import Samples, open_samples
from onnxq.testing import Array, normal, parse

F32 = np.dtype(np.float32)


def told(**outputs: Array) -> Answers:
    return Answers(outputs, None, len(next(iter(outputs.values()))))


def silent(done: int) -> None:
    assert done > 0


@pytest.mark.parametrize("shape", [(20, 10), (5, 3, 8, 8)])
def test_every_number_is_what_numpy_computes(shape: tuple[int, ...]) -> None:
    one, two = normal(*shape), normal(*shape) + normal(*shape, seed=1, scale=0.05)
    (found,) = compare(told(y=one), told(y=two))
    a, b = one.astype(np.float64), two.astype(np.float64)
    assert found.output == "y"
    assert found.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), abs=0.01)
    assert found.cosine == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()), abs=1e-5)
    assert found.max_error == pytest.approx(np.abs(a - b).max(), rel=1e-5)
    assert found.agreement == pytest.approx(100 * np.mean(a.argmax(-1) == b.argmax(-1)))
    assert 50 < 100 * np.mean(a.argmax(-1) == b.argmax(-1)) < 100


def test_equal_outputs_and_each_by_name() -> None:
    one = normal(4, 3)
    same, other = compare(told(a=one, b=one), told(b=one + np.array(1, np.float32), a=one))
    assert (same.output, same.sqnr_db, same.max_error, same.agreement) == ("a", np.inf, 0, 100)
    assert same.cosine == pytest.approx(1)
    assert other.output == "b"
    assert other.max_error == pytest.approx(1)


def test_probabilities_next_to_nothing_are_compared_without_a_warning() -> None:
    sure = np.array([[1, 1e-35, 1e-37], [1e-36, 1, 0]], np.float32)
    with warnings.catch_warnings(record=True) as told_to_users:
        warnings.simplefilter("always")  # Polygraphy catches what would be an error
        (found,) = compare(told(y=np.full((2, 3), 1 / 3, np.float32)), told(y=sure))
    assert found.max_error == pytest.approx(2 / 3)
    assert told_to_users == []


def test_only_the_samples_both_have_are_compared() -> None:
    one = normal(6, 3)
    spoilt = one.copy()
    spoilt[4:] = 100
    (found,) = compare(told(y=one), told(y=spoilt[:4]))
    assert found.max_error == 0
    (found,) = compare(told(y=spoilt), told(y=one[:4]))
    assert found.max_error == 0


def test_what_is_not_float_is_not_compared_and_a_column_has_no_arg_max() -> None:
    assert compare(told(i=np.arange(3)), told(i=np.arange(3))) == ()
    (found,) = compare(told(y=normal(5, 1)), told(y=normal(5, 1)))
    assert found.agreement is None


MODEL = parse("g (float[N,3] x) => (float[N,3] y, float m) { y = Relu(x) m = ReduceMax<keepdims=0>(x) }")


def samples(count: int, fixed: int | None = None) -> Samples:
    data: dict[str, NDArray[np.generic]] = {"x": normal(count, 3), "labels": np.arange(count)}
    return open_samples(data, [InputSpec("x", F32, (fixed, 3))])


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_answers_are_all_outputs_in_order_and_labels(batch: int) -> None:
    seen: list[int] = []
    found = answers(Session(MODEL).run, samples(7), batch, seen.append, None)
    np.testing.assert_array_equal(found.outputs["y"], np.maximum(normal(7, 3), 0))
    assert found.outputs["m"].shape == (-(-7 // batch),)
    np.testing.assert_array_equal(found.labels, np.arange(7))
    assert found.count == 7 and seen[-1] == 7


def test_answers_stop_at_the_limit_and_leave_out_what_fills_a_batch_up() -> None:
    assert answers(Session(MODEL).run, samples(10), 2, silent, 4).count == 4
    found = answers(Session(MODEL).run, samples(5, fixed=4), 4, silent, None)
    assert found.outputs["y"].shape == (5, 3) and found.count == 5


def test_outputs_that_change_shape_are_refused() -> None:
    def run(feeds: object) -> dict[str, NDArray[np.generic]]:
        sizes.append(0)
        return {"y": np.zeros((1, len(sizes)))}

    sizes: list[int] = []
    with pytest.raises(ModelError, match="change shape"):
        answers(run, samples(3), 1, silent, None)


def test_a_score_needs_labels() -> None:
    metric = Top1()
    assert score(metric, told(y=np.eye(3))) is None
    assert score(metric, Answers({"y": np.eye(3)}, np.array([0, 1, 1]), 3)) == pytest.approx(200 / 3)
