"""Every linear layer as a row: how much work it is, what each engine runs it in, and what its integers cost.

| column | of |
|---|---|
| MACs | multiply-accumulates of one run |
| runs in | what the engine said; or what was planned, where none was built |
| input SQNR | the activation that it reads, on its grid; of several, the worst |
| range used | how much of that grid 99.9 % of its values lie in |
| weight SQNR | its weight, on its grid |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.html.bar import bar
from onnxq.html.markup import Html, joined, name_of, tag
from onnxq.html.numbers import NOTHING, decibel, many, percent
from onnxq.html.told import Told, ToldActivation, ToldBackend, ToldLayer
from onnxq.portrait import SeenValues

MOST_DB = 60.0  # a bar's whole length: 8 bits of evenly spread values make 50 dB
LOW_DB, POOR_DB = 30.0, 20.0
LITTLE_USED = 0.25  # of a grid: two bits are lost
LEFT_OUT = 0.001  # of the values, half of it at each end
OWN = ("runs in", "input SQNR", "range used", "weight SQNR")


@dataclass(frozen=True)
class Reading:
    """The activation that a layer reads: whose grid it has, and the values seen of it."""

    tensor: str
    grid: ToldActivation
    seen: SeenValues


def layers(told: Told, anchors: Mapping[tuple[str, str], str]) -> Html:
    """The section with the table; ``anchors`` are where the histograms are, by backend and tensor."""
    known: dict[str, str] = {}
    for entry in told.backends.values():
        known |= {layer.node: layer.op_type for layer in entry.layers if layer.node not in known}
    if not known:
        return Html()
    work: dict[str, int] = {}
    for entry in told.backends.values():
        work |= entry.engine.work if entry.engine else {}
    numbered = enumerate(known.items(), 1)
    rows = joined(_row(told, node, op_type, work, anchors, number) for number, (node, op_type) in numbered)
    table = tag("table", _head(told, bool(work)), tag("tbody", rows), class_="sortable")
    said = (
        "Press a heading to sort. Input and weight SQNR: signal over error in dB of what the layer reads and of its "
        "weight, each rounded by itself, so higher is better. Range used: how much of the grid "
        "99.9 % of the values lie in; a few far ones eat the rest."
    )
    box = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Layers")
    return tag("section", tag("h2", "Layers"), tag("p", said, class_="muted"), box, id="layers")


def _head(told: Told, worked: bool) -> Html:
    own = len(OWN)
    above = [tag("td", "", class_="first"), tag("td", "", colspan=2 if worked else 1)]
    above += [tag("th", entry.title, scope="colgroup", colspan=own, class_="group") for entry in told.backends.values()]
    plain = [_button("layer", "first"), _button("#", "number"), *([_button("MACs", "number")] if worked else [])]
    of_backends = [
        _button(title, "group" if title == OWN[0] else "number") for _ in told.backends.values() for title in OWN
    ]
    return tag("thead", tag("tr", *above), tag("tr", *plain, *of_backends))


def _button(title: str, kind: str) -> Html:
    return tag("th", tag("button", title, type="button"), scope="col", aria_sort="none", class_=kind)


def _row(
    told: Told,
    node: str,
    op_type: str,
    work: Mapping[str, int],
    anchors: Mapping[tuple[str, str], str],
    number: int,
) -> Html:
    words = name_of(node), tag("span", op_type, class_="muted")
    cells = [_number(number, str(number))]
    if work:
        most, count = max(work.values(), default=0), work.get(node)
        cells.append(_number(count, many(count), bar(count / most if count is not None and most else None)))
    for backend, entry in told.backends.items():
        layer = next((layer for layer in entry.layers if layer.node == node), None)
        cells += _cells(backend, entry, layer, anchors)
    return tag("tr", tag("th", *words, scope="row", class_="first"), *cells)


def _cells(
    backend: str, entry: ToldBackend, layer: ToldLayer | None, anchors: Mapping[tuple[str, str], str]
) -> list[Html]:
    if layer is None:
        return [tag("td", NOTHING, class_="group"), *(_number(None, NOTHING) for _ in OWN[1:])]
    read = reading(entry, layer)
    used = share_used(read.grid, read.seen) if read else None
    weight = entry.weights.get(layer.weight) if layer.weight is not None else None
    found = decibel(read.seen.sqnr_db if read else None)
    anchor = anchors.get((backend, read.tensor)) if read else None
    linked = tag("a", found, href=f"#{anchor}", title=f"values of {read.tensor}") if read and anchor else found
    of_input, of_weight = read.seen.sqnr_db if read else None, weight.sqnr_db if weight else None
    return [
        _precision(entry, layer),
        _number(of_input, linked, _db_bar(of_input)),
        _number(used, percent(used, 0), bar(used, "warn" if used is not None and used < LITTLE_USED else "")),
        _number(of_weight, decibel(of_weight), _db_bar(of_weight)),
    ]


def _precision(entry: ToldBackend, layer: ToldLayer) -> Html:
    found = next((one for one in entry.engine.reading.layers if one.node == layer.node), None) if entry.engine else None
    if found is not None:
        said, detail = found.precision, found.detail
    elif layer.weight is not None:
        weight = entry.weights.get(layer.weight)
        said, detail = f"planned: {weight.bits if weight else 8} bits", "" if layer.reads else "weights only"
    else:
        said, detail = "float", ""
    fine = said in ("int8", "fp8") or said.startswith("planned")
    why = layer.why_float or detail
    below = name_of(why, "muted") if why else ""
    return tag("td", tag("span", said, class_=f"chip {'good' if fine else 'warn'}"), below, class_="group")


def _number(value: float | None, said: str, drawn: str = "") -> Html:
    """A cell that sorts by its value, which may be infinite, as JavaScript writes that; last where it has none."""
    known = value is not None and not math.isnan(value)
    sorted_by = f"{value:.6g}".replace("inf", "Infinity") if known else ""
    return tag("td", said, drawn, class_="number", data_value=sorted_by)


def _db_bar(value: float | None) -> Html:
    kind = "" if value is None or value >= LOW_DB else "warn" if value >= POOR_DB else "bad"
    return bar(None if value is None else value / MOST_DB, kind)


def reading(entry: ToldBackend, layer: ToldLayer) -> Reading | None:
    """What a layer reads; of several activations that of the least SQNR."""
    found = []
    for name in layer.reads:
        grid = entry.activations.get(name)
        tensor = grid.takes_grid_of or name if grid is not None else name
        seen = (entry.activations.get(tensor) or grid) if grid is not None else None
        if grid is not None and seen is not None and seen.seen is not None:
            found.append(Reading(tensor, grid, seen.seen))
    return min(found, key=lambda one: _least(one.seen.sqnr_db), default=None)


def _least(value: float | None) -> float:
    return float("inf") if value is None else value


def share_used(grid: ToldActivation, seen: SeenValues) -> float | None:
    """How much of the grid, from its least to its greatest real, the middle 99.9 % of the values take up, zero among
    them; or all values, where nothing but the extremes is known."""
    span = grid.high - grid.low
    low, high = seen.low, seen.high
    if seen.counts and sum(seen.counts):
        edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
        below = np.concatenate([[0.0], np.cumsum(seen.counts)]) / sum(seen.counts)
        low, high = np.interp([LEFT_OUT / 2, 1 - LEFT_OUT / 2], below, edges).tolist()
    common = min(grid.high, max(high, 0.0)) - max(grid.low, min(low, 0.0))
    return max(common, 0.0) / span if span > 0 else None
