"""Two engines are timed in turns, on the same feeds."""

import time
from collections.abc import Mapping

import numpy as np
import pytest

from onnxq.backends.engine import Reading
from onnxq.backends.timing import side_by_side
from onnxq.inputs import Array

FEEDS: dict[str, Array] = {"x": np.ones(3, np.float32)}


class Sleeper:
    """An engine that takes a known time and writes down when it ran."""

    def __init__(self, seconds: float, diary: list["Sleeper"]) -> None:
        self.seconds = seconds
        self.diary = diary

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        assert feeds is FEEDS
        self.diary.append(self)
        time.sleep(self.seconds)
        return {}

    def read_back(self) -> Reading:
        return Reading("sleeper", (), 0)


def test_medians_tell_the_faster_engine() -> None:
    diary: list[Sleeper] = []
    fast, slow = Sleeper(0.002, diary), Sleeper(0.02, diary)
    times = side_by_side(fast, slow, FEEDS, seconds=0.2)
    assert times == pytest.approx((0.002, 0.02), rel=1.0)
    assert times[0] < times[1]


def test_runs_alternate() -> None:
    diary: list[Sleeper] = []
    first, second = Sleeper(0.001, diary), Sleeper(0.001, diary)
    side_by_side(first, second, FEEDS, seconds=0.02)
    assert diary[::2] == [first] * (len(diary) // 2)
    assert diary[1::2] == [second] * (len(diary) // 2)


def test_a_slow_engine_still_runs_three_times_after_warm_up() -> None:
    diary: list[Sleeper] = []
    side_by_side(Sleeper(0.01, diary), Sleeper(0.01, diary), FEEDS, seconds=0.0)
    assert len(diary) == 2 * (2 + 3)
