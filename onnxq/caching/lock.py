"""One process at a time: a lock on a file, which the system takes back from a process however it ends.

It saves work, and nothing else hangs on it: what is written is put in its place whole. So where a file system has no
locks, work may be done twice.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait for whoever holds the lock at ``path``, then hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        with suppress(OSError):
            _lock(file.fileno())
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # whoever waits for it holds the file that is gone, and works beside the next one


if os.name == "nt":  # pragma: no cover

    def _lock(file: int) -> None:
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]

else:

    def _lock(file: int) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
