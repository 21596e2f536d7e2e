"""What a search found, on the terminal: the verdict first, then all that was tried."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.held_out import decibels
from onnxq.tuning.candidate import Outcome
from onnxq.tuning.tune import Tuned


def page(found: Tuned, graph: Path, again: str) -> RenderableType:
    """The whole page; ``graph`` is where the best one was written, ``again`` the command that makes it once more."""
    return Group(_head(found), Text(), _table(found), *_problems(found), Text(), *_end(found, graph, again))


def _head(found: Tuned) -> Text:
    where = f"as the graph is computed: {found.not_deployed}" if found.not_deployed else f"on {found.engine}"
    seconds = ", ".join(f"{name} {taken:.1f} s" for name, taken in found.seconds.items())
    lines = [
        f"{found.title}; calibrated on {found.data}; judged {where}, on {found.tests}",
        f"FP32: {found.metric} {found.fp32:.2f} {found.unit}; at most {found.max_drop:g} may be lost",
        f"time: {seconds}, of a budget of {found.budget:g} s",
    ]
    if found.resumed:
        lines.append(f"{found.resumed} of the candidates were tried by an earlier run")
    return Text.assemble((found.model, "bold"), *(f"\n{line}" for line in lines))


def _table(found: Tuned) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("candidate", overflow="fold")
    for title in (f"{found.metric} {found.unit}".strip(), "lost", "INT8 MACs", "MB", "SQNR dB", "worst dB", "s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in found.outcomes:
        style = "green" if found.best is not None and one.word == found.best.word else ""
        numbers = (_number(one.value), _number(one.lost), _share(one), _megabytes(one), _db(one.noise), _db(one.worst))
        table.add_row(Text(one.said, style), *numbers, f"{one.seconds:.1f}", _said(one))
    return table


def _said(one: Outcome) -> str:
    if one.problem is not None:
        return "refused"
    return "keeps" if one.keeps else "loses"


def _problems(found: Tuned) -> list[Text]:
    return [Text(f"refused: {one.said}: {one.problem}", "dim") for one in found.outcomes if one.problem is not None]


def _end(found: Tuned, graph: Path, again: str) -> list[Text]:
    lines = [Text(found.verdict, "bold green" if found.keeps else "bold red")]
    if found.best is not None:
        lines.append(Text(f"{graph} is made again, byte for byte, by: {again}"))
    if found.built is not None and found.built.speedup is not None:
        lines.append(Text(f"speed on {found.built.reading.engine}: {found.built.speedup:.2f} times FP32, batch 1"))
    if found.counterexamples:
        count, worst = len(found.counterexamples), found.counterexamples[0]
        lines.append(
            Text(
                f"{count} counterexamples kept, the worst near sample {worst.number + 1}: {decibels(worst.noise)} dB; "
                f"all later candidates had to do better on them"
            )
        )
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(one: Outcome) -> str:
    return "" if one.int8 is None else f"{100 * one.int8:.1f} %"


def _megabytes(one: Outcome) -> str:
    return "" if one.size is None else f"{one.size / 1e6:.2f}"


def _db(noise: float | None) -> str:
    return "" if noise is None else decibels(noise)
