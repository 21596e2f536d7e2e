"""A progress bar per stage on stderr, where that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from onnxq.workspace import Progress, silent


@contextmanager
def progress_bars(quiet: bool) -> Iterator[Progress]:
    """A Progress that draws bars, or one that shows nothing when asked to be quiet or nobody is watching."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    # rich takes a file for a terminal where FORCE_COLOR is set, as in many a CI.
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
                for old in list(tasks.values())[: 2 - bars.console.height]:
                    bars.update(old, visible=False)  # what does not fit the window is cut at its end
            bars.update(tasks[stage], completed=done, total=total)

        yield show
