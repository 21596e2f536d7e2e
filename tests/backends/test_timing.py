"""Engines are timed in turns, on the same feeds."""

import time
from collections.abc import Mapping

import numpy as np
import pytest

from onnxq.backends.engine import Reading
from onnxq.backends.timing import in_turns, side_by_side
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


def test_every_round_runs_each_once_in_changing_order() -> None:
    diary: list[Sleeper] = []
    engines = [Sleeper(0.001, diary) for _ in range(3)]
    rounds = in_turns(engines, FEEDS, seconds=0.05)
    orders = [diary[i : i + 3] for i in range(6, len(diary), 3)]  # 6 runs warm up
    assert len(orders) == len(rounds) > 6
    assert all(set(order) == set(engines) for order in orders)
    assert {order[0] for order in orders} == set(engines)


def test_seconds_are_told_by_engine_whatever_the_order() -> None:
    diary: list[Sleeper] = []
    engines = [Sleeper(seconds, diary) for seconds in (0.001, 0.01, 0.02)]
    rounds = in_turns(engines, FEEDS, seconds=0.2)
    assert all(first < second < third for first, second, third in rounds)


def test_another_clock_tells_other_seconds() -> None:
    ticks = iter(range(100))
    (first, *_) = in_turns([Sleeper(0.0, [])], FEEDS, seconds=0.0, clock=lambda: float(next(ticks)))
    assert first == (1.0,)


def test_a_slow_engine_still_runs_three_times_after_warm_up() -> None:
    diary: list[Sleeper] = []
    side_by_side(Sleeper(0.01, diary), Sleeper(0.01, diary), FEEDS, seconds=0.0)
    assert len(diary) == 2 * (2 + 3)
