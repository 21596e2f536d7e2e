"""What each pass brought, a table for each backend, where that was measured."""

from onnxq.ablation_table import WORTH, named
from onnxq.html.bar import bar
from onnxq.html.markup import Html, joined, tag
from onnxq.html.numbers import NOTHING, decibel
from onnxq.html.told import Told
from onnxq.variants import Ablation, Outcome, Variant


def ablation(told: Told) -> Html:
    """The section, or nothing."""
    found = told.ablation
    if found is None:
        return Html()
    said = (
        f"The recipe was run again without each of its optional passes. “Brings” is what the whole recipe has more, on "
        f"{found.samples} samples, in simulation."
    )
    tables = joined(_table(found, name, entry.title) for name, entry in told.backends.items())
    return tag("section", tag("h2", "What each pass brings"), tag("p", said, class_="muted"), tables, id="ablation")


def _table(found: Ablation, backend: str, title: str) -> Html:
    measured = [variant for variant in found.variants if backend in variant.backends]
    brought = [abs(variant.backends[backend].brought_db or 0.0) for variant in measured]
    most = max([value for value in brought if value < float("inf")], default=0.0)
    metric = [found.metric, f"{found.metric} brings"] if found.metric else []
    titles = ["left out", "SQNR", "brings", *metric, "nodes", "seconds"]
    head = tag("thead", tag("tr", *(tag("th", one, scope="col", class_=_kind(i)) for i, one in enumerate(titles))))
    body = tag("tbody", *(_row(found, variant, variant.backends[backend], most) for variant in measured))
    table = tag("table", tag("caption", title), head, body)
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=f"Passes, {title}")


def _kind(place: int) -> str:
    return "first" if place == 0 else "number"


def _row(found: Ablation, variant: Variant, outcome: Outcome, most: float) -> Html:
    name = tag("th", named(variant.without), scope="row", class_="first")
    if outcome.problem is not None:
        return tag("tr", name, tag("td", f"cannot be run: {outcome.problem}", colspan=6 if found.metric else 4))
    db = outcome.brought_db
    share = abs(db) / most if db is not None and most and abs(db) >= WORTH else None
    cells = [decibel(outcome.sqnr_db), _brought(db, outcome.same_graph, bar(share, _verdict(db)))]
    if found.metric:
        score = NOTHING if outcome.score is None else f"{outcome.score:.2f} {found.unit}"
        cells += [score, _brought(outcome.brought, False, Html())]
    cells += [NOTHING if outcome.nodes is None else str(outcome.nodes)]
    cells += [NOTHING if outcome.seconds is None else f"{outcome.seconds:.1f}"]
    return tag("tr", name, *(tag("td", cell, class_="number") for cell in cells))


def _brought(value: float | None, same: bool, drawn: Html) -> Html:
    if same:
        return tag("span", "same graph", class_="muted")
    if value is None:
        return Html()
    said = "0" if value == 0 else f"{value:+.2f}"
    return joined([tag("span", said, class_=_verdict(value) or "muted"), drawn])


def _verdict(value: float | None) -> str:
    return "" if value is None or abs(value) < WORTH else "good" if value > 0 else "warn"
