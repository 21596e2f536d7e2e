"""Where the files of a command go, that none is overwritten by mistake, and the writing of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxq.result import Result


def backend_choices() -> list[str]:
    """What a shell completes ``--backend`` with."""
    from onnxq.backends import backend_names

    return list(backend_names())


def places(
    out: str | None, stem: str, names: tuple[str, ...], json_file: Path | None, report: Path | None
) -> dict[str, Path]:
    """Where each graph goes; whatever cannot be written is an error before the work, not after it."""
    from onnxq.backends import backend_of
    from onnxq.files import check_writable
    from onnxq.places import places as paths
    from onnxq.report import check_format

    for name in names:
        backend_of(name)
    files = paths(out or f"{stem}.{{backend}}.onnx", stem, names)
    if report is not None:
        check_format(report)
    for path in (*every_file(files), json_file, report):
        if path is not None:
            check_writable(path)
    return files


def range_places(out: str | None, names: tuple[str, ...]) -> dict[str, Path]:
    """Where the ranges of each backend go, if anywhere. Raises OutputError for what cannot be written."""
    from onnxq.errors import OutputError
    from onnxq.files import check_writable
    from onnxq.ranges.range_file import check_ranges_format

    if out is None:
        return {}
    if len(names) > 1 and "{backend}" not in out:
        raise OutputError(f"{out}: backends have ranges of their own. Put {{backend}} into the name (--ranges-out).")
    found = {name: Path(out.replace("{backend}", name)) for name in names}
    for path in found.values():
        check_ranges_format(path)
        check_writable(path)
    return found


def every_file(files: dict[str, Path]) -> list[Path]:
    """Every file that is written for the backends."""
    from onnxq.backends import backend_of
    from onnxq.places import beside

    found = []
    for name, path in files.items():
        side_file = backend_of(name).side_file
        found += [path, *beside(path, side_file.suffix if side_file else None)]
    return found


def keep_apart(written: "list[Path | None]", read: "list[str | Path | None]") -> None:
    """Raises OutputError where a file would be written twice, or over what the command reads."""
    from onnxq.errors import OutputError

    taken = {Path(path).resolve() for path in read if path is not None}
    for path in written:
        if path is None:
            continue
        if path.resolve() in taken:
            raise OutputError(f"{path}: is read or written already by this command. Choose another name.")
        taken.add(path.resolve())


def write(result: "Result", files: dict[str, Path], json_file: Path | None, report: Path | None, quiet: bool) -> None:
    """Write the facts, the report and the graphs, and print the summary."""
    from rich.console import Console

    from onnxq.report import summary

    tell(result, files, json_file, report)
    for name, path in files.items():
        result[name].save(path)
    if not quiet:
        Console(soft_wrap=False).print(summary(result, files))


def tell(result: "Result", files: Mapping[str, Path], json_file: Path | None, report: Path | None) -> None:
    """Write the facts and the report. Graphs come behind them: a build that finds one takes it that all is there."""
    from onnxq.facts import facts
    from onnxq.files import write_file
    from onnxq.report import write_report

    if json_file is not None:
        write_file(json_file, json.dumps(facts(result, dict(files)), indent=1).encode())
    if report is not None:
        write_report(result, dict(files), report)
