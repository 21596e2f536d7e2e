"""Engines timed fairly: their runs alternate, so that all see the same noise."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from onnxq.backends.engine import Engine
from onnxq.inputs import Array

_WARM_UP_RUNS = 2
_LEAST_RUNS = 3


def side_by_side(
    first: Engine, second: Engine, feeds: Mapping[str, Array], *, seconds: float = 0.3
) -> tuple[float, float]:
    """Median wall seconds per run of each engine, on the same feeds: ``in_turns`` for two."""
    one, other = in_turns((first, second), feeds, seconds=seconds)
    return one, other


def in_turns(
    engines: Sequence[Engine],
    feeds: Mapping[str, Array],
    *,
    seconds: float = 0.3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, ...]:
    """Median seconds per run of each engine, on the same feeds, as ``clock`` tells them.

    The timed runs of all together take about ``seconds``; a slow engine still runs three times. With
    ``time.process_time`` for a clock, what other programs do meanwhile counts less.
    Raises EngineError where an engine was only compiled.
    """
    for _ in range(_WARM_UP_RUNS):
        for engine in engines:
            engine.run(feeds)
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < _LEAST_RUNS or time.perf_counter() < end:
        rounds.append([_seconds(engine, feeds, clock) for engine in engines])
    return tuple(map(statistics.median, zip(*rounds, strict=True)))


def _seconds(engine: Engine, feeds: Mapping[str, Array], clock: Callable[[], float]) -> float:
    start = clock()
    engine.run(feeds)
    return clock() - start
