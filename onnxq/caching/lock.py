"""One process at a time: a lock on a file, which the system takes back from a process however it ends.

It saves work, and nothing else hangs on it: what is written is put in its place whole. So where a file system has no
locks, work may be done twice.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait for whoever holds the lock at ``path``, then hold it."""
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("ab"))
            stack.callback(_remove, path)
            _lock(file.fileno())
        yield


def _remove(path: Path) -> None:
    """Whoever waits for it holds the file that is gone, and works beside the next one."""
    with suppress(OSError):
        path.unlink()


if os.name == "nt":  # pragma: no cover

    def _lock(file: int) -> None:
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]

else:

    def _lock(file: int) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
