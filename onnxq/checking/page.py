"""What a check found, on a page: the layers and what they became, times, outputs, and findings by rule."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from onnxq.backends.engine import Layer
from onnxq.checking.check import Checked
from onnxq.checking.parity import Output, Parity
from onnxq.lint.finding import SEVERITIES, Finding
from onnxq.shortened import shortened

LAYERS = 12  # shown without --all: those that are not INT8 first, then the heaviest
CUT = (20, 27)  # characters of a long name that are shown
NODES = 3  # named per finding
STYLES = {"rejected": "bold red", "wrong": "bold red", "float": "yellow", "slow": "yellow"}
SAYS = {
    "rejected": "refused by the engine",
    "wrong": "wrong answers",
    "float": "runs in float",
    "slow": "slow",
}


def page(found: Checked, model: str, everything: bool = False) -> RenderableType:
    """One backend's page; ``everything`` shows every layer and names every node."""
    parts: list[RenderableType] = [_head(found, model)]
    if not found.quantized:
        parts.append(Text("Not quantized: no Q/DQ nodes, nor others that work on integers.", "yellow"))
    if found.problem is not None:
        parts.append(Text(f"The engine cannot run this model: {found.problem}", "bold red"))
    if found.reading is not None:
        parts += [Text(""), _layers(found, everything)]
    if found.parities:
        parts += [Text(""), _parities(found.parities)]
    parts += [Text(""), *_findings(found.findings, everything)]
    return Group(*parts)


def _head(found: Checked, model: str) -> Text:
    engine = found.reading.engine if found.reading is not None else "not built"
    lines = [f"{found.title}  {engine}", f"inputs: {found.data}", f"compared with: {found.float_model}"]
    if found.reading is not None:
        lines.append(_share(found))
    return Text.assemble((model, "bold"), *(f"\n{line}" for line in lines))


def _share(found: Checked) -> str:
    layers = found.reading.layers if found.reading is not None else ()
    integer = sum(layer.precision == "int8" for layer in layers)
    share = f", {100 * found.int8_macs:.1f} % of the MACs" if found.int8_macs is not None else ""
    conversions = found.reading.conversions if found.reading is not None else 0
    return f"INT8: {integer} of {len(layers)} layers{share}; conversions and reformats in the engine: {conversions}"


def _layers(found: Checked, everything: bool) -> RenderableType:
    layers = found.reading.layers if found.reading is not None else ()
    total = sum(found.macs.values())
    chosen = _chosen(layers, found, everything)
    table = _table("layer", "operator", "MACs", "precision", "kernel")
    table.columns[2].justify = "right"
    for layer in chosen:
        share = f"{100 * found.macs[layer.node] / total:.1f} %" if layer.node in found.macs and total else ""
        style = "green" if layer.precision == "int8" else "yellow"
        detail = f"{layer.detail} (nothing quantized in the graph)" if layer.node in found.bare else layer.detail
        table.add_row(shortened(layer.node, *CUT), layer.op_type, share, Text(layer.precision, style), detail)
    if len(chosen) == len(layers):
        return table
    return Group(table, Text(f"and {len(layers) - len(chosen)} more layers: --all shows them", "dim"))


def _chosen(layers: Sequence[Layer], found: Checked, everything: bool) -> list[Layer]:
    """In graph order: all, or what is not INT8 first and then the heaviest, as many as are shown."""
    if everything or len(layers) <= LAYERS:
        return list(layers)
    ranked = sorted(layers, key=lambda layer: (layer.precision == "int8", -found.macs.get(layer.node, 0)))
    shown = {id(layer) for layer in ranked[:LAYERS]}
    return [layer for layer in layers if id(layer) in shown]


def _parities(parities: Sequence[Parity]) -> Table:
    table = _table("batch", "float", "this model", "", "output", "engine vs graph", "graph vs float", "engine vs float")
    for entry in parities:
        times = ["", "", ""]
        if entry.float_seconds and entry.seconds and entry.speedup:
            times = [f"{1e3 * entry.float_seconds:.3g} ms", f"{1e3 * entry.seconds:.3g} ms", f"{entry.speedup:.2f}x"]
        worst: list[Output | None] = [*sorted(entry.outputs, key=lambda out: out.engine_graph)[:NODES]]
        for out in worst or [None]:
            table.add_row(str(entry.batch), *times, *_output(out))
            times = ["", "", ""]
    return table


def _output(out: Output | None) -> list[str | Text]:
    if out is None:
        return ["no float output", "", "", ""]
    sides = (out.engine_graph, out.graph_float, out.engine_float)
    style = "bold red" if out.wrong else ""
    return [shortened(out.name, *CUT), *(Text("" if side is None else _decibel(side), style) for side in sides)]


def _decibel(value: float) -> str:
    return "equal" if value > 300 else f"{value:.1f} dB"


def _findings(findings: Sequence[Finding], everything: bool) -> list[RenderableType]:
    """One paragraph per rule and cause, the worst first."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for entry in sorted(findings, key=lambda entry: SEVERITIES.index(entry.severity)):
        groups.setdefault((entry.rule, entry.severity, entry.why), []).append(entry)
    if not groups:
        return [Text("No findings.", "green")]
    lines: list[RenderableType] = []
    for (rule, severity, why), group in groups.items():
        names = [shortened(entry.node, *CUT) for entry in group]
        shown = names if everything else names[:NODES]
        more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        title = Text.assemble((rule, STYLES[severity]), f"  {SAYS[severity]}  ", (f"{len(names)} × ", "bold"))
        title.append(f"{', '.join(shown)}{more}", "dim")
        lines += [title, Padding(Text(why), (0, 0, 0, 2)), Padding(Text(f"→ {group[0].mend}", "cyan"), (0, 0, 0, 2))]
    return lines


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title)
    return table
