"""Where the time of a run goes: functions are timed under a label, what they call under its own."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

Target = tuple[object, str, str]
"""A module or class, the name of a function there, and the label that its time goes to."""


@contextmanager
def stopwatch(targets: Sequence[Target], whole: str = "") -> Iterator[Mapping[str, float]]:
    """Seconds by label, while the block runs. What is called from under the label ``whole`` counts for it too."""
    seconds: dict[str, float] = defaultdict(float)
    open_calls: list[tuple[str, list[float]]] = []

    def timed(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            said = whole if any(outer == whole for outer, _ in open_calls) else label
            inner: list[float] = []
            open_calls.append((said, inner))
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent = time.perf_counter() - start
                open_calls.pop()
                seconds[said] += spent - sum(inner)
                if open_calls:
                    open_calls[-1][1].append(spent)

        return call

    with ExitStack() as patches:
        for owner, name, label in targets:
            patches.enter_context(patch.object(owner, name, timed(getattr(owner, name), label)))
        yield seconds
