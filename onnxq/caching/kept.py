"""What a run made, in the cache: graphs by all that went into them, and what was told of them by the paths it names."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxq.caching.request import Further, Request
from onnxq.caching.store import Damaged, Entry, Store
from onnxq.errors import OutputError
from onnxq.places import places

if TYPE_CHECKING:
    from onnxq.result import Result

Figures = Mapping[str, Any]
SUMMARY = "summary"


@dataclass(frozen=True)
class Kept:
    """``graphs`` says by backend: its ``figures``; the ``files`` that hold it, each with what its name has beside the
    stem of the graph's; and ``fixed``, the name that the graph must have, where one file names another. ``told`` has
    what was written beside the graphs, by the option that asked for it."""

    graphs: Entry
    told: Entry | None
    further: Further

    @property
    def figures(self) -> dict[str, Figures]:
        return {name: one["figures"] for name, one in self._backends.items()}

    @property
    def _backends(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.graphs.about["backends"]  # type: ignore[assignment]
        return found

    def graph_files(self, out: str | None) -> dict[str, dict[Path, str]]:
        """By backend: where files go, and the file of the cache that goes there; the graph itself first.

        Raises Damaged where the graph cannot have that name.
        """
        stem = str(self.graphs.about["stem"])
        mains = places(out or f"{stem}.{{backend}}.onnx", stem, tuple(self._backends))
        found = {}
        for name, path in mains.items():
            one = self._backends[name]
            if one["fixed"] not in (None, path.name):
                raise Damaged(name)
            beside = {path.with_name(path.name.removesuffix(".onnx") + rest): file for rest, file in one["files"][1:]}
            found[name] = {path: one["files"][0][1], **beside}
        return found

    def summary(self) -> str | None:
        return None if self.told is None else self.told.text(SUMMARY)


def find(store: Store, request: Request) -> Kept | None:
    known = store.find("inputs", request.key)
    if known is None:
        return None
    named: Any = known.about["files"]
    further = tuple((str(role), str(name)) for role, name in named)
    key = request.key_with(further)
    graphs = store.find("graphs", key)
    if graphs is None:
        return None
    told = store.find("reports", request.key_of_reports(key))
    return None if told is None and request.wants_reports else Kept(graphs, told, further)


def keep(
    store: Store,
    request: Request,
    further: Further,
    result: "Result",
    files: Mapping[str, Path],
    figures: Mapping[str, Figures],
    told: Mapping[str, Path | bytes],
) -> None:
    """``files``: where the graphs go; ``told``: what was written beside them. Raises OutputError."""
    key = request.key_with(further)
    with tempfile.TemporaryDirectory(dir=store.root / "tmp", prefix="graphs-") as folder:
        held: dict[str, Path | bytes] = {}
        about = {}
        for name, path in files.items():
            fresh = Path(folder) / name / path.name
            result[name].save(fresh)
            stem = path.name.removesuffix(".onnx")
            parts = []
            for written in result[name].files(fresh):
                parts.append((written.name.removeprefix(stem), f"{len(held)}"))
                held[f"{len(held)}"] = written
            fixed = path.name if any(rest.endswith(".data") for rest, _ in parts) else None
            about[name] = {"files": parts, "figures": figures[name], "fixed": fixed}
        store.put("graphs", key, {"stem": Path(result.model).stem or "model", "backends": about}, held)
    store.put("reports", request.key_of_reports(key), {}, told)
    store.put("inputs", request.key, {"files": further})


def remove(paths: list[Path]) -> None:
    """Raises OutputError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed: {error.strerror}. Remove it.") from error
