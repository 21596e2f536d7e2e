"""Working on several things at once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from onnxq.at_once import cores, in_order

THREADS = ThreadPoolExecutor(6)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_answers_come_in_order_whoever_is_done_first(at_once: int) -> None:
    third = threading.Event()

    def work(number: int) -> int:
        if number == 2:
            third.set()
        if number == 1 and at_once > 2:
            assert third.wait(20)
        return number * number

    assert list(in_order(work, range(20), at_once, THREADS)) == [number * number for number in range(20)]


@pytest.mark.parametrize("at_once", [2, 3])
def test_so_many_are_worked_on_at_the_same_time(at_once: int) -> None:
    together = threading.Barrier(at_once)
    assert (
        list(in_order(lambda _: together.wait(20) >= 0, range(2 * at_once), at_once, THREADS)) == [True] * 2 * at_once
    )


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_no_more_is_read_than_is_worked_on(at_once: int) -> None:
    read: list[int] = []

    def given() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    answers = in_order(lambda number: number, given(), at_once, THREADS)
    for taken in range(1, 30):
        next(answers)
        assert len(read) <= taken + at_once
    answers.close()
    assert len(read) < 50


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_is_raised_comes_where_its_answer_would(at_once: int) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    answers, seen = in_order(work, range(100), at_once, THREADS), []
    with pytest.raises(ValueError, match="three"):
        for answer in answers:
            seen.append(answer)
    assert seen == [0, 1, 2]


def test_there_is_a_core() -> None:
    assert cores() >= 1
