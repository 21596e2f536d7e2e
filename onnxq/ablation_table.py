"""The table of what each pass brought, for the summary: one for each backend."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.variants import Ablation, Outcome

WORTH = 0.1  # dB or points: below are other roundings, not better ones
NOTHING = Text("–", "dim")


def ablation_tables(ablation: Ablation, titles: Mapping[str, str]) -> list[RenderableType]:
    """For each backend of ``titles``, with the reasons of the variants that cannot be run below."""
    parts: list[RenderableType] = []
    for backend, title in titles.items():
        said = f"  what each pass brings to the Q/DQ graph, on {ablation.samples} samples"
        parts += [Text.assemble("\n", (title, "bold"), said), _table(ablation, backend)]
        for variant in ablation.variants:
            if (problem := variant.backends[backend].problem) is not None:
                parts.append(Text(f"  without {named(variant.without)} it cannot be run: {problem}", "yellow"))
    return parts


def named(without: tuple[str, ...]) -> str:
    """What a row leaves out, in words."""
    if not without:
        return "nothing"
    return without[0] if len(without) == 1 else f"all {len(without)}"


def _table(ablation: Ablation, backend: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("  left out")
    for title in ("SQNR", "brings", *([ablation.metric, "brings"] if ablation.metric else []), "nodes", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for variant in ablation.variants:
        outcome = variant.backends[backend]
        table.add_row(f"  {named(variant.without)}", *_cells(outcome, ablation))
    return table


def _cells(outcome: Outcome, ablation: Ablation) -> list[Text]:
    likeness, score = _number(outcome.sqnr_db, "{:.2f} dB"), _number(outcome.score, f"{{:.2f}} {ablation.unit}")
    brought_db = Text("same graph", "dim") if outcome.same_graph else _brought(outcome.brought_db)
    metric = [score, _brought(outcome.brought)] if ablation.metric else []
    return [likeness, brought_db, *metric, _number(outcome.nodes, "{}"), _number(outcome.seconds, "{:.1f}")]


def _number(value: float | None, form: str) -> Text:
    return NOTHING if value is None else Text(form.format(value))


def _brought(value: float | None) -> Text:
    if value is None:
        return Text("")
    if value == 0:
        return Text("0", "dim")
    return Text(f"{value:+.2f}", "green" if value >= WORTH else "yellow" if value <= -WORTH else "")
