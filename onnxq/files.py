"""Write files whole or not at all."""

import os
import tempfile
from pathlib import Path

from onnxq.errors import OutputError


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically, making its folder. Raises OutputError."""
    beside = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        if beside:  # gone, unless something went wrong
            Path(beside).unlink(missing_ok=True)


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
