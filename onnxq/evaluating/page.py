"""An evaluation on a page: a row for every model on every engine."""

import math
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.evaluating.evaluate import Evaluated, Row, Value


def page(found: Evaluated) -> RenderableType:
    """The table, what ran, and why what did not."""
    count = max(row.samples for row in found.rows)
    parts: list[RenderableType] = [
        Text(f"{found.data}; {count} measured, batch {found.batch}"),
        Text(""),
        _table(found),
    ]
    engines = list(dict.fromkeys(row.reading.engine for row in found.rows if row.reading is not None))
    notes = [f"deployed: {engine}" for engine in engines]
    if any(not row.deployed for row in found.rows):
        notes.append("simulation: not deployed, but the graph computed node by node as it is written, by onnxruntime")
    parts += [Text(""), *(Text(note, "dim") for note in notes)]
    return Group(*parts, *(Text(f"FAILED: {problem}", "bold red") for problem in found.problems))


def _table(found: Evaluated) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    for title in ("engine", "INT8"):
        table.add_column(title, no_wrap=True)
    for value in found.rows[0].values:
        table.add_column(f"{value.metric} {value.unit}".strip(), justify="right", min_width=6)
        if not value.compares:
            table.add_column("lost", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    paths = {row.model: Path(row.model).name for row in found.rows}
    names = paths if len(set(paths.values())) == len(paths) else {said: said for said in paths}
    for row in found.rows:
        cells = [cell for value in row.values for cell in _cells(found, row, value)]
        table.add_row(names[row.model], row.engine, _integers(row), *cells, f"{row.seconds:.2f}")
    return table


def _cells(found: Evaluated, row: Row, value: Value) -> list[str]:
    if row.problem is not None:
        shown = "failed"
    elif value.value is None:
        shown = "unknown"
    elif row is found.rows[0] and value.compares:
        shown = "ref"
    else:
        shown = "equal" if value.value == math.inf else f"{value.value:.2f}"
    lost = "" if row is found.rows[0] or value.lost is None else f"{value.lost:.2f}"
    return [shown] if value.compares else [shown, lost]


def _integers(row: Row) -> str:
    """How many linear layers the engine computes in integers; a graph alone does not tell."""
    if row.reading is None:
        return "Q/DQ" if row.quantized and not row.deployed else ""
    layers = row.reading.layers
    return f"{sum(layer.precision == 'int8' for layer in layers)} of {len(layers)}"
