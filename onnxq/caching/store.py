"""A folder of entries, each a folder of files that is put in its place whole, and found by its key.

``cache/v1/KIND/KEY/`` holds the files and ``entry.json``, which says how long each is and its SHA-256. What was used
longest ago goes first when there is more than ``limit`` bytes.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from onnxq.caching.lock import alone
from onnxq.errors import OutputError

FORMAT = "v1"
TAG = "CACHEDIR.TAG"  # by which tools that make backups know such folders, https://bford.info/cachedir/
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of onnxq: onnxq cache clear DIR\n"
ABOUT = "entry.json"
LIMIT = 5 * 10**9
PIECE = 1 << 20
DAY = 24 * 3600.0

KINDS = ("commands", "inputs", "graphs", "reports", "statistics")


def store_at(where: "str | Path | Store") -> "Store":
    return where if isinstance(where, Store) else Store(Path(where))


class Damaged(Exception):
    """An entry is not what was written."""


@dataclass(frozen=True)
class Entry:
    """``about``: what was said of it; ``files``: bytes and SHA-256 of each."""

    folder: Path
    about: dict[str, object]
    files: Mapping[str, tuple[int, str]]

    def pieces(self, name: str) -> Iterator[bytes]:
        """Of a file. Raises Damaged at its end where it is another."""
        found, (_, wanted) = sha256(), self.files[name]
        try:
            with (self.folder / name).open("rb") as file:
                while piece := file.read(PIECE):
                    found.update(piece)
                    yield piece
        except OSError as error:
            raise Damaged(name) from error
        if found.hexdigest() != wanted:
            raise Damaged(name)

    def text(self, name: str) -> str:
        return b"".join(self.pieces(name)).decode()


@dataclass(frozen=True)
class Store:
    folder: Path
    limit: int = LIMIT

    @property
    def root(self) -> Path:
        return self.folder / FORMAT

    def prepare(self) -> None:
        """Make the folder, unless it is another one's. Raises OutputError."""
        try:
            if self.folder.exists() and any(self.folder.iterdir()):
                self.check()
            for kind in (*KINDS, "tmp"):
                (self.root / kind).mkdir(parents=True, exist_ok=True)
            if not (self.folder / TAG).exists():
                (self.folder / TAG).write_text(SIGNATURE, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be a cache: {error.strerror}. Choose another place.") from error

    def check(self) -> None:
        """Raises OutputError where the folder is no cache of onnxq."""
        if not (self.folder / TAG).is_file() and not (self.root / "tmp").is_dir():
            raise OutputError(f"{self.folder}: is no cache of onnxq. Give the folder that --cache had, or a new one.")

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """While no other process makes what goes by ``key``."""
        with alone(self.root / "tmp" / f"{key}.lock"):
            yield

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry, which from now on was used last."""
        folder = self.root / kind / key
        try:
            said = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            entry = Entry(folder, said["about"], {name: (size, mark) for name, (size, mark) in said["files"].items()})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.drop(kind, key)
            return None
        with suppress(OSError):  # a folder that may only be read serves too
            os.utime(folder)
        return entry

    def put(
        self, kind: str, key: str, about: Mapping[str, object], files: Mapping[str, Path | bytes] | None = None
    ) -> None:
        """Keep copies of files under a key, in place of what is there. Raises OutputError."""
        try:
            fresh = Path(tempfile.mkdtemp(dir=self.root / "tmp", prefix=f"{kind}-"))
            try:
                held = {name: _copied(source, fresh / name) for name, source in (files or {}).items()}
                (fresh / ABOUT).write_text(json.dumps({"about": about, "files": held}), encoding="utf-8")
                self.drop(kind, key)
                with suppress(OSError):  # somebody else was first, with the same
                    fresh.rename(self.root / kind / key)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot keep what was made: {error.strerror}. Make room.") from error

    def drop(self, kind: str, key: str) -> None:
        """At one stroke; a process that is reading it finds it damaged."""
        place = self.root / kind / key
        with suppress(OSError):
            if place.exists():
                with tempfile.TemporaryDirectory(dir=self.root / "tmp", prefix="gone-") as folder:
                    place.rename(Path(folder) / key)

    def entries(self, kind: str) -> dict[str, tuple[int, float]]:
        """Bytes, and when it was used last, by key."""
        found = {}
        for folder in (self.root / kind).glob("*"):
            with suppress(OSError):
                found[folder.name] = (sum(f.stat().st_size for f in folder.iterdir()), folder.stat().st_mtime)
        return found

    def trim(self) -> int:
        """Down to the limit, and without what killed processes left. How many entries are gone."""
        gone = 0
        with alone(self.root / "tmp" / "trim.lock"):
            for left in (self.root / "tmp").glob("*-*"):
                with suppress(OSError):
                    if time.time() - left.stat().st_mtime > DAY:
                        shutil.rmtree(left, ignore_errors=True)
            every = [(used, size, kind, key) for kind in KINDS for key, (size, used) in self.entries(kind).items()]
            total = sum(size for _, size, _, _ in every)
            for _, size, kind, key in sorted(every):
                if total <= self.limit:
                    break
                self.drop(kind, key)
                total, gone = total - size, gone + 1
        return gone


def _copied(source: Path | bytes, to: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of what was copied."""
    if isinstance(source, bytes):
        to.write_bytes(source)
        return len(source), sha256(source).hexdigest()
    found, size = sha256(), 0
    with source.open("rb") as file, to.open("wb") as copy:
        while piece := file.read(PIECE):
            found.update(piece)
            size += copy.write(piece)
    return size, found.hexdigest()
