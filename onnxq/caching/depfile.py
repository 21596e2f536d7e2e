"""The files that a command read, as Make and Ninja read them: ``out: in in``, and each ``in:`` alone.

A file that is listed and gone since would stop Make; the lines without inputs say that nothing need be done for it.
"""

import re
from collections.abc import Iterable
from pathlib import Path


def depfile(written: Iterable[Path], read: Iterable[Path]) -> str:
    """Folders are left to the build system's own rules: their times change when anything is put there."""
    inputs = [_escaped(path) for path in read]
    rule = f"{' '.join(map(_escaped, written))}:" + "".join(f" \\\n  {path}" for path in inputs)
    return "\n".join([rule, *(f"{path}:" for path in inputs)]) + "\n"


def _escaped(path: Path) -> str:
    """As GCC writes them."""
    return re.sub(r"([ #\\])", r"\\\1", path.as_posix()).replace("$", "$$")
