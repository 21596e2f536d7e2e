"""What was found, on the terminal: the words first, then the tables they stand on."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxq.diagnosing.cure import Cure, Tried
from onnxq.diagnosing.diagnose import Diagnosed
from onnxq.diagnosing.layers import LayerNoise
from onnxq.held_out import decibels

LAYERS = 10  # rows, unless all are asked for
SHORT = 2  # symptoms of a layer


def page(found: Diagnosed, everything: bool = False) -> RenderableType:
    """The whole page; ``everything``: every layer."""
    return Group(_head(found), Text(), _words(found), Text(), _layers(found, everything), Text(), _remedies(found.cure))


def _head(found: Diagnosed) -> Text:
    sane = "FP32 on the engine: "
    if found.sanity.noise is not None:
        sane += f"{decibels(found.sanity.noise)} dB against the graph; "
    sane += "sane" if found.sanity.sane else "NOT sane"
    sane += f" ({found.sanity.said})" if found.sanity.said else ""
    parts = found.parts
    seconds = ", ".join(f"{name} {taken:.1f} s" for name, taken in found.seconds.items())
    lines = (
        f"{found.title}; data: {found.data}; judged on {found.samples} of them",
        sane,
        f"outputs with weights quantized: {decibels(parts.weights)} dB, activations: {decibels(parts.activations)} dB, "
        f"both: {decibels(parts.both)} dB, before biases are corrected",
        f"time: {seconds}, of a budget of {found.budget:g} s",
    )
    return Text.assemble((found.model, "bold"), *(f"\n{line}" for line in lines))


def _words(found: Diagnosed) -> RenderableType:
    lines = list(found.advice)
    if (scores := found.scores) is not None:
        before, after = (f"{value:.2f} {scores.unit}" for value in (scores.before, scores.after))
        said = f"{scores.metric} on {scores.samples} samples: FP32 {scores.fp32:.2f} {scores.unit}"
        lines.append(f"{said}, with the recipe as it is {before}, with the recommended one {after}.")
    return Group(*(Padding(Text(line), (0, 0, 0, 2)) for line in lines))


def _layers(found: Diagnosed, everything: bool) -> RenderableType:
    shown = found.layers if everything else found.layers[:LAYERS]
    several = any(len(one.ends) > 1 for one in found.layers)
    table = _table("layer", *(["worst end dB"] if several else []), "alone dB", "weights", "output", "left float dB")
    rest: list[RenderableType] = []
    for one in shown:
        wrong = found.symptoms.get(one.site.layer, ())
        weights, output = one.weights if one.site.weights else None, one.activations if one.site.activations else None
        cells = (_db(one.alone if one.measured else None), _db(weights), _db(output), _db(one.left_out))
        worst = [_db(one.worst if one.measured else None)] if several else []
        table.add_row(_name(one), *worst, *cells)
        said = "; ".join(symptom.said for symptom in (wrong if everything else wrong[:SHORT]))
        if said:
            rest.append(Padding(Text.assemble((f"{one.site.layer}: ", "bold"), said), (0, 0, 0, 2)))
    if rest:
        rest = [Text("\nWhat is wrong there:"), *rest]
    if len(shown) < len(found.layers):
        rest.insert(0, Text(f"and {len(found.layers) - len(shown)} more layers: --all shows them", "dim"))
    unmeasured = [one for one in found.layers if not one.measured]
    if unmeasured:
        rest.insert(0, Text(f"{len(unmeasured)} layers were not measured: a larger --budget measures them", "yellow"))
    return Group(table, *rest)


def _name(one: LayerNoise) -> str:
    name = one.site.layer
    return name if len(name) <= 48 else f"{name[:20]}…{name[-27:]}"


def _remedies(cure: Cure) -> RenderableType:
    table = _table("remedy", "outputs dB", "gain dB", "s", "")
    table.add_row("the recipe as it is", _db(cure.before.noise), "", f"{cure.before.seconds:.1f}", "")
    for one in cure.alone:
        _row(table, one, cure.before, one.names == cure.names)
    for one in cure.together:
        _row(table, one, cure.before, one.names == cure.names)
    rest = [Text(f"not tried for want of time: {', '.join(cure.untried)}", "yellow")] if cure.untried else []
    return Group(table, *rest)


def _row(table: Table, one: Tried, before: Tried, chosen: bool) -> None:
    style = "green" if chosen else ""
    gain = ""
    if one.noise and before.noise:
        gain = f"{float(decibels(one.noise)) - float(decibels(before.noise)):+.1f}"
    said = one.problem or ("recommended" if chosen else one.said)
    table.add_row(Text(" + ".join(one.names), style), _db(one.noise), gain, f"{one.seconds:.1f}", said)


def _db(noise: float | None) -> str:
    return "" if noise is None else decibels(noise)


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in titles:
        number = title.endswith("dB") or title in ("weights", "output", "s")
        table.add_column(title, justify="right" if number else "left", no_wrap=number or title == "layer")
    return table
