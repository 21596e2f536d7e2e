"""Engines timed fairly: their runs alternate, so that all see the same noise."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from onnxq.backends.engine import Engine
from onnxq.inputs import Array

_WARM_UP_RUNS = 2
_LEAST_ROUNDS = 3


def side_by_side(
    first: Engine, second: Engine, feeds: Mapping[str, Array], *, seconds: float = 0.3
) -> tuple[float, float]:
    """Median wall seconds per run of each engine, on the same feeds: see ``in_turns``."""
    one, other = (statistics.median(times) for times in zip(*in_turns((first, second), feeds, seconds), strict=True))
    return one, other


def in_turns(
    engines: Sequence[Engine],
    feeds: Mapping[str, Array],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, ...]]:
    """Rounds in which every engine runs once, in an order drawn anew; of each, the seconds by engine.

    All rounds together take about ``seconds``; slow engines still have three. Ratios within a round are worth most:
    what slows the machine down mostly slows all of it. With ``time.process_time`` for a ``clock``, turns that other
    programs take do not count. Raises EngineError where an engine was only compiled.
    """
    for _ in range(_WARM_UP_RUNS):
        for engine in engines:
            engine.run(feeds)
    shuffle, order = random.Random(0).shuffle, list(range(len(engines)))
    rounds: list[tuple[float, ...]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < _LEAST_ROUNDS or time.perf_counter() < end:
        shuffle(order)  # else an engine would always find the caches as the same other one left them
        found = {index: _seconds(engines[index], feeds, clock) for index in order}
        rounds.append(tuple(found[index] for index in range(len(engines))))
    return rounds


def _seconds(engine: Engine, feeds: Mapping[str, Array], clock: Callable[[], float]) -> float:
    start = clock()
    engine.run(feeds)
    return clock() - start
