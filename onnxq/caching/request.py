"""What a command was asked, as a key: every option, the content of every file, and the environment."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from onnxq.caching.environment import environment
from onnxq.caching.inputs import Hashed, is_script, listed, named, relative

READ = ("model", "data", "preprocess", "recipe", "statistics", "ranges")
REPORTS = ("json_file", "report", "ranges_out")
WRITTEN = ("out", *REPORTS)
ASIDE = ("quiet", "cache", "cache_size", "depfile", "dry_run", "max_drop", "min_int8")
"""Options that change no byte of what is kept."""

Further = tuple[tuple[str, str], ...]
"""Of a file that another one names: the option that names that one, and its path from that one's folder."""


@dataclass
class Request:
    """``asked``: the options of the command by the names of its parameters."""

    asked: Mapping[str, object]
    hashed: Hashed = field(default_factory=Hashed)

    @cached_property
    def named(self) -> dict[str, Path]:
        """What is read, by the option that names it."""
        found = {role: named(role, self.asked.get(role)) for role in READ}
        return {role: path for role, path in found.items() if path is not None}

    @cached_property
    def key(self) -> str:
        """Of all but what the files name in turn."""
        options = {
            name: _plain(value)
            for name, value in self.asked.items()
            if name not in (*WRITTEN, *ASIDE) and name not in self.named
        }
        files = {role: [path.suffix, self.hashed.of(path)] for role, path in self.named.items()}
        samples = None
        if is_script(str(self.asked.get("data"))):
            from onnxq.caching.script_samples import script_samples  # runs the script: only that tells what it gives

            samples = script_samples(self.asked)
        return _word([options, files, samples, environment()])

    def key_with(self, further: Further) -> str:
        """Of everything that goes into the graphs."""
        return _word([self.key, [[role, name, self.hashed.of(self.path(role, name))] for role, name in further]])

    def key_of_reports(self, key: str) -> str:
        """Of what tells paths, too."""
        return _word([key, {name: _plain(self.asked.get(name)) for name in (*READ, *WRITTEN)}])

    @property
    def wants_reports(self) -> bool:
        return any(self.asked.get(name) is not None for name in REPORTS)

    def path(self, role: str, name: str) -> Path:
        return self.named[role].parent / name if role in self.named else Path(name)

    def further(self, files: Iterable[tuple[str, Path]]) -> Further:
        """Those that are not named themselves."""
        own = {path.resolve() for path in self.named.values()}
        found = [(role, path) for role, path in files if path.resolve() not in own]
        return tuple((role, relative(path, self.named[role])) for role, path in found)

    def files(self, further: Further) -> list[Path]:
        """Every file that is read, and every folder of data: a file more or less in it is another input."""
        paths = [*self.named.values(), *(self.path(role, name) for role, name in further)]
        found = [file for path in paths for file in ([path, *listed(path)] if path.is_dir() else [path])]
        return list(dict.fromkeys(found))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | list) else str(value)


def _word(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
