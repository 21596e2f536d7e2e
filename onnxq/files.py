"""Write files whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from onnxq.errors import OnnxqError, OutputError

Content: TypeAlias = bytes | Iterable[bytes | memoryview]
"""Of a file: all of it, or piece by piece."""


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

    Raises OutputError.
    """
    written: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            written[path] = _beside(path)
            with written[path].open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
            written[path].chmod(0o644)
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
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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
