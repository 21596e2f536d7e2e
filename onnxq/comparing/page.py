"""A comparison as a page for people."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.comparing.compare import Compared
from onnxq.comparing.inner import Layer

WORST = 10  # layers that are shown beside the tensors themselves


def page(found: Compared) -> RenderableType:
    """Outputs, layers, and what the engine did."""
    title = Text(f"{found.second.name} beside {found.first.name}, {len(found.first.iterations)} runs", "bold")
    parts: list[RenderableType] = [title, _outputs(found)]
    parts += [Text(f"not compared: {said}", "yellow") for said in found.outputs.left_out]
    if found.layers is not None:
        parts.append(_layers(found.layers))
    if found.score is not None:
        one = found.score
        parts.append(
            Text(f"{one.metric}: {one.first:.2f} {one.unit} -> {one.second:.2f} {one.unit} ({-one.drop:+.2f})")
        )
    if found.int8_macs is not None:
        parts.append(Text(f"INT8: {100 * found.int8_macs:.1f} % of the MACs"))
    if found.difference is not None:
        far = found.difference
        before = "" if far.before_db is None else f" (before it: {far.before_db:.1f} dB)"
        where = f"{far.operator} {far.node!r}, tensor {far.tensor!r}"
        parts.append(Text(f"The engine leaves its own graph at {where}: {far.sqnr_db:.1f} dB{before}", "red"))
    return Group(*parts)


def _outputs(found: Compared) -> Table:
    shown = _table("output", "SQNR dB", "cosine", "largest error", "")
    for row in found.outputs.rows:
        figures = ["-" if value is None else form.format(value) for value, form in _figures(row.sqnr_db, row.cosine)]
        shown.add_row(Text(row.output), *figures, f"{row.max_error:.4g}", Text("missed" if row.missed else "", "red"))
    return shown


def _figures(sqnr_db: float | None, cosine: float | None) -> Sequence[tuple[float | None, str]]:
    return (sqnr_db, "{:.2f}"), (cosine, "{:.6f}")


def _layers(layers: Sequence[Layer]) -> RenderableType:
    """All of them in order; where they lose most is marked."""
    if not layers:
        return Text("The graphs have no inner tensor of one name in common.")
    shown = _table("tensor", "made by", "SQNR dB", "")
    worst = {layer.tensor for layer in sorted(layers, key=lambda layer: layer.sqnr_db)[:WORST]}
    for layer in layers:
        marks = ["worst"] * (layer.tensor in worst) + ["rescaled by a rewrite"] * layer.rescaled
        style = "red" if layer.tensor in worst else ""
        shown.add_row(Text(layer.tensor), layer.operator, f"{layer.sqnr_db:.2f}", Text(", ".join(marks), style))
    return shown


def _table(*columns: str) -> Table:
    shown = Table(box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if column in ("SQNR dB", "cosine", "largest error") else "left")
    return shown
