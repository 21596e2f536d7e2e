"""Write files whole or not at all."""

import glob
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from onnxq.errors import OnnxqError, OutputError

Content: TypeAlias = bytes | Iterable[bytes | memoryview]
"""Of a file: all of it, or piece by piece."""

UNFINISHED = ".onnxq-part"  # a file that is being written
STALE = 3600.0  # seconds, after which nobody writes it any more


def read_text(path: Path, limit: int, error: type[OnnxqError], *, what: str, gone: str, otherwise: str) -> str:
    """The text of a file of at most ``limit`` bytes. Raises ``error``: ``what`` it should be, and what is said where it
    is ``gone``, or ``otherwise`` than text."""
    try:
        if path.stat().st_size > limit:
            raise error(f"{path}: larger than {limit >> 20} MiB; give the {what}, not the data.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as cause:
        raise error(f"{path}: {gone}") from cause
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror}.") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path}: {otherwise}") from cause


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, making its folder. Raises OutputError."""
    write_files({path: content})


def write_files(contents: Mapping[Path, Content]) -> None:
    """Write files that belong together: all are written beside their places before the first is put there.

    The last is the one by which the others are found: it is gone while they are replaced, so that whoever finds it has
    those that belong to it, even where a process was killed. Raises OutputError.
    """
    written: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            written[path] = _beside(path)
            with written[path].open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
            written[path].chmod(0o644)
        if len(written) > 1:
            path.unlink(missing_ok=True)
        for path, hidden in written.items():
            hidden.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        for hidden in written.values():  # gone, unless something went wrong
            hidden.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A new file in the folder of ``path``, which is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(glob.escape(f".{path.name}.") + f"*{UNFINISHED}"):
        if time.time() - left.stat().st_mtime > STALE:  # a process that was killed could not take it away
            left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    os.close(handle)
    return Path(name)


def check_writable(path: Path) -> None:
    """Raises OutputError now for a path that ``write_file`` could not write later."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise OutputError(f"{path}: is {kind}; a file is wanted. Choose another place.")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        handle, probe = tempfile.mkstemp(dir=existing, prefix=".onnxq.")
        os.close(handle)
        Path(probe).unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}. Choose another place.") from error
