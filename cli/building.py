"""A command as a step of a build: what a cache has is taken from there, and what the build must know is written."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxq.cli.gates import Gates, figures_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxq.caching.further import Further
    from onnxq.caching.kept import Kept
    from onnxq.caching.request import Request
    from onnxq.caching.store import Store
    from onnxq.recipe import Recipe
    from onnxq.result import Result

WIDTH = 120  # of the summary that is kept


class Building:
    """``asked``: the options of `onnxq quantize`, by the names of its parameters."""

    def __init__(self, asked: Mapping[str, Any], *, remembered: bool = False) -> None:
        """``remembered``: they are from the cache, and so need not be kept in it."""
        self.asked = asked
        self.remembered = remembered
        self.gates = Gates(asked["max_drop"], asked["min_int8"])
        self.gates.check(asked["build"])

    @cached_property
    def request(self) -> "Request":
        from onnxq.caching.request import Request

        return Request(self.asked)

    @cached_property
    def store(self) -> "Store | None":
        """Raises RecipeError."""
        from onnxq.caching.size import bytes_of
        from onnxq.caching.store import LIMIT, Store

        if self.asked["cache"] is None:
            return None
        size = self.asked["cache_size"]
        return Store(Path(self.asked["cache"]), LIMIT if size is None else bytes_of(size))

    @property
    def dry(self) -> bool:
        return bool(self.asked["dry_run"])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other process runs the same; whoever comes second takes what the first one made."""
        if self.store is None or self.dry:
            yield
            return
        self.store.prepare()
        with self.store.alone(self.request.key):
            yield

    def served(self) -> bool:
        """Whether everything was in the cache, and is written now. Exits with 1 where a gate was missed."""
        from onnxq.caching.store import Damaged

        found = None if self.dry else self.kept()
        if found is None or self.store is None:
            return False
        try:
            self._remember()
            self._serve(found)
        except Damaged:
            self.store.drop("graphs", found.graphs.folder.name)
            return False
        return True

    def kept(self) -> "Kept | None":
        from onnxq.caching.kept import find

        return None if self.store is None else find(self.store, self.request)

    def look(self, recipe: "Recipe") -> "Further | None":
        """At what the files name in turn, where anybody asks; ``recipe``: as it runs."""
        if self.store is None and self.asked["depfile"] is None and not self.dry:
            return None
        from onnxq.caching.further import further_files

        self.request.key  # noqa: B018 - hashes what is there before it is read
        return further_files(self.asked["model"], self.asked["recipe"], recipe)

    def finish(
        self, result: "Result", files: Mapping[str, Path], tables: Mapping[str, Path], further: "Further | None"
    ) -> None:
        """Write what came of a run, the graphs last, and keep it. Exits with 1 where a build is not to go on."""
        from rich.console import Console

        from onnxq.cli.outputs import tell
        from onnxq.report import summary

        missed = self.gates.missed({name: figures_of(entry) for name, entry in result.backends.items()})
        refused = any(entry.problem for entry in result.backends.values())
        for name, path in tables.items():
            result[name].save_ranges(path)
        tell(result, files, self.asked["json_file"], self.asked["report"])
        page = summary(result, dict(files))
        if not self.asked["quiet"]:
            Console(soft_wrap=False).print(page)
        if further is not None and self.store is not None and not refused:
            self._keep(self.store, result, files, tables, further, page)
        written = [path for name, file in files.items() for path in result[name].files(file)]
        _stop(missed, written)
        if further is not None:
            self._write_depfile(self.request.files(self.request.further(further.files)), list(files.values()))
        for name, path in files.items():
            result[name].save(path)
        if refused:
            sys.exit(1)

    def _remember(self) -> None:
        """What the words of this process's command line mean."""
        if self.store is not None and not self.remembered and sys.argv[1:2] == ["quantize"]:
            from onnxq.caching.commands import keep_said

            keep_said(self.store, sys.argv[1:], self.asked)

    def _keep(
        self,
        store: "Store",
        result: "Result",
        files: Mapping[str, Path],
        tables: Mapping[str, Path],
        further: "Further",
        page: "RenderableType",
    ) -> None:
        """What was made and told; where that is not to be or cannot be, it is said."""
        from rich.console import Console

        from onnxq.caching.kept import SUMMARY, keep
        from onnxq.errors import OutputError

        reason = further.declined
        if reason is None and not self.request.hashed.unchanged():
            reason = "a file that it reads was changed while it ran."
        if reason is None:
            stream = StringIO()
            Console(file=stream, width=WIDTH).print(page)
            told: dict[str, Path | bytes] = {SUMMARY: stream.getvalue().encode()}
            told |= {file: path for path, file in self._aside(tables).items()}
            figures = {name: figures_of(entry) for name, entry in result.backends.items()}
            try:
                keep(store, self.request, self.request.further(further.files), result, files, figures, told)
                self._remember()
                store.trim()
            except (OutputError, OSError) as error:
                reason = str(error)
        if reason is not None:
            print(f"The graphs are not kept in the cache: {reason}", file=sys.stderr)

    def _serve(self, found: "Kept") -> None:
        from onnxq.cli.outputs import keep_apart
        from onnxq.files import write_files

        graphs = found.graph_files(self.asked["out"])
        tables = self.asked["ranges_out"]
        aside = self._aside({} if tables is None else {b: Path(tables.replace("{backend}", b)) for b in graphs})
        written, read = [path for one in graphs.values() for path in one], self.request.files(found.further)
        keep_apart([*written, *aside], [path for path in read if not path.is_dir()])
        for path, file in aside.items():
            assert found.told is not None
            write_files({path: found.told.pieces(file)})
        if not self.asked["quiet"]:
            print(f"{found.summary() or ''}Taken from the cache: {', '.join(map(str, written))}")
        _stop(self.gates.missed(found.figures), written)
        self._write_depfile(read, [next(iter(one)) for one in graphs.values()])
        for one in graphs.values():
            write_files({path: found.graphs.pieces(file) for path, file in reversed(one.items())})

    def _aside(self, tables: Mapping[str, Path]) -> dict[Path, str]:
        """What is written beside the graphs, by its name in the cache."""
        found = {Path(self.asked[name]): name for name in ("json_file", "report") if self.asked[name] is not None}
        return {**found, **{path: f"ranges-{name}" for name, path in tables.items()}}

    def _write_depfile(self, read: "list[Path]", written: "list[Path]") -> None:
        """With full names where the graphs have them, as build systems that work in several folders want it."""
        from onnxq.caching.depfile import depfile
        from onnxq.files import write_file

        if self.asked["depfile"] is not None:
            if all(path.is_absolute() for path in written):
                read = [path.absolute() for path in read]
            write_file(Path(self.asked["depfile"]), depfile(written, read).encode())


def _stop(missed: list[str], written: list[Path]) -> None:
    """Where a gate was missed: leave no graph that a build would take for good, say why, and exit with 1."""
    from onnxq.caching.kept import remove

    if missed:
        remove(written)
        for said in missed:
            print(f"FAILED: {said}", file=sys.stderr)
        print(f"Not written: {', '.join(map(str, written))}", file=sys.stderr)
        sys.exit(1)
