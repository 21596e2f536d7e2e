"""What is refused leaves the inputs that it answered worst, and what comes later must do better there."""

import numpy as np
import pytest

from onnxq.execute import Session
from onnxq.testing import parse
from onnxq.tuning.counterexamples import BEGUN, MOST, RADIUS, Counterexample, Counterexamples, Feeds, found

FLOAT = "g (float[n,4] x) => (float[n,4] y) { y = Mul(x, one) }"
CLIPPED = "g (float[n,4] x) => (float[n,4] y) { y = Clip(x, low, high) }"


def session(text: str, **weights: float) -> Session:
    return Session(parse(text, 17, **{name: np.array(value, np.float32) for name, value in weights.items()}))


@pytest.fixture
def reference() -> Session:
    return session(FLOAT, one=1.0)


def clipped(high: float) -> Session:
    return session(CLIPPED, low=-9.0, high=high)


@pytest.fixture
def samples() -> list[Feeds]:
    random = np.random.default_rng(0)
    rows = random.uniform(-1, 1, (12, 1, 4)).astype(np.float32)
    rows[7] = [[0.1, 0.2, -0.3, 3.0]]  # beyond what is clipped
    return [{"x": row} for row in rows]


def test_the_worst_sample_is_found_and_worse_around_it(reference: Session, samples: list[Feeds]) -> None:
    worst = found(reference, clipped(2.0), samples)
    assert len(worst) == BEGUN and worst[0].number == 7
    one = worst[0]
    assert one.noise >= one.sample == pytest.approx(1.0 / (0.1**2 + 0.2**2 + 0.3**2 + 9), rel=1e-5)
    reach = RADIUS * 3.3
    assert np.abs(np.subtract(one.feeds["x"], samples[7]["x"])).max() <= reach * 1.001
    assert one.feeds["x"].max() <= 3.0 and one.feeds["x"].min() >= -np.float32(0.3)
    np.testing.assert_array_equal(one.wanted["y"], one.feeds["x"])


def test_the_search_is_the_same_twice(reference: Session, samples: list[Feeds]) -> None:
    first, second = (found(reference, clipped(0.3), samples) for _ in range(2))
    assert [one.noise for one in first] == [one.noise for one in second]
    assert any(one.noise > one.sample for one in first), "random steps find nothing worse"


def test_a_later_candidate_must_do_better(reference: Session, samples: list[Feeds]) -> None:
    known = Counterexamples().with_those(found(reference, clipped(1.0), samples))
    assert Counterexamples().refusal(clipped(0.1)) is None
    assert known.refusal(clipped(2.0)) is None
    said = known.refusal(clipped(0.5))
    assert said is not None and said.startswith("no better on 4 counterexamples: ") and "refused before" in said
    assert known.refusal(clipped(1.0)) is not None, "one that was refused passes where it did no better"


def test_of_one_input_the_least_noise_counts_and_of_many_the_worst_stay() -> None:
    def one(value: float, noise: float) -> Counterexample:
        feeds: Feeds = {"x": np.full((1, 4), value, np.float32)}
        return Counterexample(0, feeds, feeds, noise, noise)

    known = Counterexamples().with_those([one(1, 0.5), one(2, 0.4)]).with_those([one(1, 0.2), one(2, 0.9)])
    assert [each.noise for each in known.kept] == [0.4, 0.2]
    many = Counterexamples().with_those([one(value, value) for value in range(1, MOST + 4)])
    assert len(many.kept) == MOST and many.kept[0].noise == MOST + 3


def test_integers_are_not_moved(reference: Session) -> None:
    gather = "g (int64[n] i) => (float[n] y) { y = Gather(table, i) }"
    tables = (np.arange(1, 5, dtype=np.float32), np.array([1, 2, 3, 2], np.float32))
    exact, rounded = (Session(parse(gather, 17, table=table)) for table in tables)
    worst = found(exact, rounded, [{"i": np.array([n], np.int64)} for n in range(4)])
    assert worst[0].number == 3 and worst[0].feeds["i"] == 3 and worst[0].noise == worst[0].sample
