"""Work on several things at once, and have what comes of them in their order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def cores() -> int:
    """That this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def in_order(
    work: Callable[[Given], Made], given: Iterable[Given], at_once: int, threads: ThreadPoolExecutor
) -> Generator[Made]:
    """What ``work`` makes of each that is given, from the first to the last.

    So many are with the ``threads`` at the same time, ahead of who takes what was made of them; one is worked on when
    it is asked for. What ``work`` raises is raised where its answer would come.
    """
    if at_once < 2:
        yield from map(work, given)
        return
    waiting: deque[Future[Made]] = deque()
    try:
        for one in given:
            waiting.append(threads.submit(work, one))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
