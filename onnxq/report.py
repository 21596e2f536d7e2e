"""What was done, what was declined and why, what it cost: a summary a person takes in at a glance."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.ablation_table import ablation_tables
from onnxq.answers import Likeness
from onnxq.build import Built
from onnxq.errors import OutputError
from onnxq.facts import facts
from onnxq.files import write_file
from onnxq.ledger import Entry, Kind
from onnxq.result import BackendResult, Result, Scores
from onnxq.solving.solved_layer import told

REASONS = 6  # of one kind shown per backend; --json has all
FORMATS = (".html", ".svg", ".txt")
NOTHING = Text("–", "dim")
NOT_RUN = Text("not run", "dim")


def summary(result: Result, written: dict[str, Path] | None = None) -> RenderableType:
    """The terminal's page: what was asked, a column per backend, then what stayed float and why."""
    total = sum(result.seconds.values())
    head = Text.assemble((result.model, "bold"), f"  {result.task} ", result.data, (f"  {total:.1f} s", "dim"))
    parts: list[RenderableType] = [head]
    if result.smoke_test:
        parts.append(Text("RANDOM DATA: a smoke test. Its ranges, and so its accuracy, mean nothing.", "bold red"))
    entries = list(result.backends.values())
    shared = [e for e in entries[0].ledger.entries if all(_common(e, other) for other in entries)]
    parts += [Text(""), _table(entries), *_reasons(shared)]
    for entry in entries:
        parts += _notes(entry, (written or {}).get(entry.backend), shared)
    if result.ablation is not None:
        parts += ablation_tables(result.ablation, {name: entry.title for name, entry in result.backends.items()})
    return Group(*parts)


def _common(fact: Entry, entry: BackendResult) -> bool:
    """Whether a fact is to be told once for all backends; what is clipped is only counted, so it is told for each."""
    return fact.kind != "clipped" and fact in entry.ledger.entries


def _table(entries: Sequence[BackendResult]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("")
    for entry in entries:
        table.add_column(entry.title)
    metric = next((e.judged.scores.metric for e in entries if e.judged and e.judged.scores), "")
    for title, cell in ROWS.items():
        cells = [cell(entry) for entry in entries]
        if any(found is not None for found in cells):
            table.add_row(title.format(metric=metric), *(NOTHING if found is None else found for found in cells))
    return table


def _int8_layers(entry: BackendResult) -> Text | None:
    built = entry.built
    if built is None or _fp8_layers(entry) is not None:
        return None
    return Text(f"{built.int8_nodes} of {built.nodes}", _good(built.int8_nodes == built.nodes))


def _fp8_layers(entry: BackendResult) -> Text | None:
    layers = entry.built.reading.layers if entry.built is not None else ()
    count = sum(layer.precision == "fp8" for layer in layers)
    return Text(f"{count} of {len(layers)}", _good(count == len(layers))) if count else None


def _stored_integers(entry: BackendResult) -> Text | None:
    """Layers that compute in float with weights that the engine keeps as integers."""
    layers = entry.built.reading.layers if entry.built is not None else ()
    counts = Counter(layer.precision for layer in layers if layer.precision.endswith(" weights"))
    if not counts:
        return None
    return Text(", ".join(f"{count} of {len(layers)} with {kind}" for kind, count in sorted(counts.items())))


def _int8_macs(entry: BackendResult) -> Text | None:
    share = entry.built.int8_macs if entry.built is not None and _fp8_layers(entry) is None else None
    return None if share is None else Text(f"{100 * share:.1f} %", _good(share == 1))


def _conversions(entry: BackendResult) -> Text | None:
    return None if entry.built is None else Text(f"{entry.built.reading.conversions}")


def _sqnr(side: str) -> Callable[[BackendResult], Text | None]:
    def cell(entry: BackendResult) -> Text | None:
        if entry.judged is None:
            return None
        likeness: tuple[Likeness, ...] = getattr(entry.judged, side)
        if not likeness:
            return NOT_RUN if side == "engine" else None
        worst = min(likeness, key=lambda like: like.sqnr_db)
        agree = "" if worst.agreement is None else f", {worst.agreement:.1f} %"
        return Text(f"{worst.sqnr_db:.1f} dB{agree}")

    return cell


def _kept(what: str) -> Callable[[BackendResult], Text | None]:
    def cell(entry: BackendResult) -> Text | None:
        if entry.kept is None:
            return None
        kept, total = getattr(entry.kept, what), getattr(entry.kept, f"of_{what}")
        return Text(f"{kept} of {total}", _good(kept == total))

    return cell


def _score(side: str) -> Callable[[BackendResult], Text | None]:
    def cell(entry: BackendResult) -> Text | None:
        scores: Scores | None = entry.judged.scores if entry.judged else None
        if scores is None:
            return None
        value: float | None = getattr(scores, side)
        if value is None:
            return NOT_RUN
        return Text(f"{value:.2f} {scores.unit}", "" if side == "fp32" else _lost(scores.fp32 - value))

    return cell


def _size(entry: BackendResult) -> Text:
    unit, scale = ("MB", 1e6) if entry.size_before >= 1e5 else ("kB", 1e3)
    return Text(f"{entry.size_before / scale:.2f} → {entry.size_after / scale:.2f} {unit}")


def _time(entry: BackendResult) -> Text | None:
    built = entry.built
    if built is None:
        return None
    if built.fp32_seconds is None or built.seconds is None or built.speedup is None:
        return NOT_RUN
    unit, scale = ("ms", 1e3) if max(built.fp32_seconds, built.seconds) >= 1e-3 else ("µs", 1e6)
    said = f"{scale * built.fp32_seconds:.3g} → {scale * built.seconds:.3g} {unit} ({built.speedup:.2f}x)"
    return Text(said, _good(built.speedup >= 1))


ROWS: dict[str, Callable[[BackendResult], Text | None]] = {
    "grids kept": _kept("activations"),
    "weights kept": _kept("weights"),
    "layers in INT8": _int8_layers,
    "MACs in INT8": _int8_macs,
    "layers in FP8": _fp8_layers,
    "layers in float": _stored_integers,
    "conversions": _conversions,
    "graph vs FP32": _sqnr("graph"),
    "engine vs FP32": _sqnr("engine"),
    "graph vs given": _sqnr("given_graph"),
    "engine vs given": _sqnr("given_engine"),
    "{metric} FP32": _score("fp32"),
    "{metric} graph": _score("graph"),
    "{metric} engine": _score("engine"),
    "size": _size,
    "time per run": _time,
}


def _good(fine: bool) -> str:
    return "green" if fine else "yellow"


def _lost(points: float) -> str:
    return "green" if points <= 0.5 else "yellow" if points <= 2 else "red"


def _notes(entry: BackendResult, path: Path | None, shared: Sequence[Entry]) -> list[RenderableType]:
    """Under the table: the engine, layers that are not integer, the ledger's reasons, and the file."""
    said = entry.built.reading.engine if entry.built is not None else "not built"
    if entry.simulated:
        said = "simulated, not built: the graph is computed by onnxruntime, and says nothing of speed"
    lines: list[RenderableType] = [Text.assemble("\n", (entry.title, "bold"), f"  {said}")]
    if path is not None:
        lines += [Text(f"  written   {file}") for file in entry.files(path)]
    if entry.problem is not None:
        lines.append(Text(f"  engine    {entry.problem}", "red"))
    lines += _float_layers(entry.built, entry.plan.floats)
    lines += [Text(f"  weights   {line}", "dim") for line in told(entry.solved.values())]
    return lines + _reasons([e for e in entry.ledger.entries if e not in shared])


def _float_layers(built: Built | None, planned: Mapping[str, str]) -> list[Text]:
    """Layers that were planned as integers, and that the engine nevertheless runs in float."""
    layers = built.reading.layers if built is not None else ()
    found = [e for e in layers if e.precision not in ("int8", "fp8") and e.node not in planned]
    lines = [
        Text(
            f"  engine    {e.op_type} {e.node!r} runs in {e.precision}{f' ({e.detail})' if e.detail else ''}",
            "yellow",
        )
        for e in found[:REASONS]
    ]
    return lines + [Text(f"  engine    and {len(found) - REASONS} more: see --json", "yellow")] * (len(found) > REASONS)


STYLES: dict[Kind, str] = {
    "changed": "dim",
    "declined": "yellow",
    "float": "",
    "clipped": "dim",
    "warning": "yellow",
}


def _reasons(entries: Sequence[Entry]) -> list[Text]:
    """The ledger, one line per kind and reason."""
    lines = []
    for kind, style in STYLES.items():
        counts: dict[str, int] = {}
        for entry in entries:
            if entry.kind == kind:
                counts[entry.reason] = counts.get(entry.reason, 0) + 1
        if kind == "clipped" and counts:
            counts = {f"{sum(counts.values())} tensors, a small part of their values: see --json": 1}
        ordered = sorted(counts.items(), key=lambda item: -item[1])
        for reason, count in ordered[:REASONS]:
            lines.append(Text(f"  {kind:<9} {f'{count} × ' if count > 1 else ''}{reason}", style))
        if len(ordered) > REASONS:
            lines.append(Text(f"  {kind:<9} and {len(ordered) - REASONS} more reasons: see --json", "dim"))
    return lines


def write_report(result: Result, written: dict[str, Path], path: Path) -> None:
    """The summary as a file, by its suffix: a page, a picture or text. Raises OutputError."""
    check_format(path)
    if path.suffix == ".html":
        from onnxq.html import page, told

        write_file(path, page(told(facts(result, written), str(path))).encode())
        return
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    console.print(summary(result, written))
    if path.suffix == ".svg":
        # A picture must not fetch its font from the network; the reader's own monospaced one serves.
        text = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="onnxq quantize"), flags=re.DOTALL)
    else:
        text = console.export_text()
    write_file(path, text.encode())


def check_format(path: Path) -> None:
    """Raises OutputError for a report in a format there is none of."""
    if path.suffix not in FORMATS:
        raise OutputError(f"{path}: a report ends in {', '.join(FORMATS)}.")
