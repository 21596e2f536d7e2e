"""The files that a command names, hashed; and the words for those that they name in turn.

What a model, a card or a recipe names is found by reading it, which takes a second of imports. So it is written down
when it was done (``further.py``), by paths from the folder of the file that names them, and only hashed from then on.
"""

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from onnxq.errors import DataError

CARD = "card.yaml"
SHIPPED = Path(__file__).resolve().parents[1] / "models"
SCRIPT = ".py"
PIECE = 1 << 20
Stamp = tuple[int, int]


@dataclass
class Hashed:
    """SHA-256 of files, each read once, and what tells whether they were changed since."""

    found: dict[Path, str] = field(default_factory=dict)
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)

    def of(self, path: Path) -> str:
        """Of a file's bytes; of a folder, of the names and the bytes of what data is read from. Of nothing: ``""``.

        Raises DataError for what cannot be read.
        """
        try:
            if path.is_dir():
                self.stamps[path] = _stamp(path)
                words = [f"{file.name} {self.of(file)}" for file in listed(path)]
                return sha256("\n".join(words).encode()).hexdigest()
            if path not in self.found:
                self.stamps[path] = _stamp(path)
                self.found[path] = _hashed(path) if path.is_file() else ""
            return self.found[path]
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}.") from error

    def unchanged(self) -> bool:
        """Whether the files are still those that were hashed, as far as size and time tell."""
        return all(_stamp(path) == stamp for path, stamp in self.stamps.items())


def listed(path: Path) -> list[Path]:
    """The files that data at a path is made of."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return [path]


def named(role: str, value: object) -> Path | None:
    """The file or folder that an option names, if it does: not a preset, a built-in recipe or ``random``."""
    if value is None:
        return None
    text = str(value)
    if role == "data" and is_script(text):
        path = Path(text.rpartition(":")[0])
    elif role == "model":
        path = _model(Path(text))
    else:
        path = Path(text)
    try:
        return path if path.exists() else None
    except OSError:  # YAML as it is written on the command line is too long for a name
        return None


def is_script(text: str) -> bool:
    """Whether it has the form ``script.py:function``; as ``onnxq.data.script`` has it, which imports numpy."""
    path, _, name = text.rpartition(":")
    return path.endswith(SCRIPT) and name.isidentifier()


def _model(path: Path) -> Path:
    """As ``onnxq.cli.cards`` and ``onnxq.models.card`` take it."""
    if path.is_dir():
        return path / CARD
    shipped = SHIPPED / path / CARD
    return shipped if not path.exists() and path.name == str(path) and shipped.is_file() else path


def relative(path: Path, base: Path) -> str:
    """From the folder of the file ``base``."""
    try:
        return Path(os.path.relpath(path.resolve(), base.resolve().parent)).as_posix()
    except ValueError:  # on another drive
        return str(path.resolve())


def _hashed(path: Path) -> str:
    found = sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
