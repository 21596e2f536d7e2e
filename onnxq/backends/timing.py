"""Two engines timed fairly: their runs alternate, so that both see the same noise."""

import statistics
import time
from collections.abc import Mapping

from onnxq.backends.engine import Engine
from onnxq.inputs import Array

_WARM_UP_RUNS = 2
_LEAST_RUNS = 3


def side_by_side(
    first: Engine, second: Engine, feeds: Mapping[str, Array], *, seconds: float = 0.3
) -> tuple[float, float]:
    """Median wall seconds per run of each engine, on the same feeds.

    The timed runs of both together take about ``seconds``; a slow engine still runs three times.
    Raises EngineError where an engine was only compiled.
    """
    for _ in range(_WARM_UP_RUNS):
        first.run(feeds)
        second.run(feeds)
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < _LEAST_RUNS or time.perf_counter() < end:
        times.append((_seconds(first, feeds), _seconds(second, feeds)))
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def _seconds(engine: Engine, feeds: Mapping[str, Array]) -> float:
    start = time.perf_counter()
    engine.run(feeds)
    return time.perf_counter() - start
