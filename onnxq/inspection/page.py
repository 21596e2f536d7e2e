"""What was found in a model, on a page: contents, operators, a plan for each backend, and the weights that spread."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxq.inspection.contents import Contents, Initializer
from onnxq.inspection.inspect import Inspected
from onnxq.inspection.planned import Planned, StaysFloat
from onnxq.inspection.weight_spread import WeightSpread
from onnxq.ledger import Entry
from onnxq.shortened import shortened

OPERATORS, TENSORS, REASONS, NODES, ENDS, WEIGHTS = 12, 3, 5, 3, 4, 10  # shown without --all
CUT = (8, 17)  # characters of a long name that are shown
LOSS_DB = 6.0  # of a median channel, one bit: what one grid for all channels may cost before it is told


def page(found: Inspected, everything: bool = False) -> RenderableType:
    """``everything`` shows every operator, reason and weight."""
    held = found.contents
    parts: list[RenderableType] = [_head(found, everything), Text(""), *_operators(held, everything)]
    if found.problem is not None:
        parts += [Text(""), Text(f"No plan: {found.problem}", "yellow")]
    wide = {entry.layer: entry for entry in found.weights}
    for plan in found.plans.values():
        parts += [Text(""), *_plan(plan, wide, held.macs, everything)]
    if found.plans:
        said = [("declined", Text(said)) for said in _counted(found.notes)]
        said += [("not run", Text(f"{', '.join(found.waiting)}: look at samples"))] if found.waiting else []
        parts += [Text(""), Text("Rewrites before the plans", "bold"), _lines(said)] if said else []
    if found.weights:
        parts += [Text(""), *_weights(found.weights, everything)]
    return Group(*parts)


def _head(found: Inspected, everything: bool) -> RenderableType:
    held = found.contents
    opsets = ", ".join(f"{domain} {version}" for domain, version in held.opsets.items())
    made = f", made by {held.producer}" if held.producer else ""
    lines = [
        ("file", f"opset {opsets}, IR {held.ir_version}{made}{', quantized' if held.quantized else ''}"),
        *_ends("input", held.inputs, everything),
        *_ends("output", held.outputs, everything),
        ("holds", f"{held.parameters:,} parameters, {_bytes(held.weight_bytes)}"),
        *(("", f"{entry.name}  {entry.kind}  {_bytes(entry.bytes)}") for entry in _largest(held, everything)),
        ("work", _work(held)),
    ]
    return Group(Text(found.model, "bold"), _lines([(title, Text(said)) for title, said in lines]))


def _ends(title: str, ends: Mapping[str, str], everything: bool) -> list[tuple[str, str]]:
    said = [(title, f"{name}  {shape}") for name, shape in ends.items()]
    if everything or len(said) <= ENDS:
        return said
    return [*said[:ENDS], ("", f"and {len(said) - ENDS} more {title}s: --all shows them")]


def _largest(held: Contents, everything: bool) -> Sequence[Initializer]:
    return held.initializers if everything else held.initializers[:TENSORS]


def _work(held: Contents) -> str:
    if not held.layers:
        return "no Conv, ConvTranspose, Gemm or MatMul in the main graph"
    said = f"{_count(held.macs)} MACs a sample in {held.layers} linear layers"
    if held.uncounted:
        told = f": --shape {held.shapes.open[0]}:1,... tells free sizes" if held.shapes.open else ""
        said += f", but for {len(held.uncounted)} whose shapes are not known{told}"
    fed = ", ".join(f"{name} {list(shape)}" for name, shape in held.shapes.shapes.items())
    return f"{said}; fed {fed}" if fed else said


def _operators(held: Contents, everything: bool) -> list[RenderableType]:
    shown = held.operators if everything else held.operators[:OPERATORS]
    table = _table("operator", "nodes", "MACs", "share", "weights", "writes")
    for entry in shown:
        share = f"{100 * entry.macs / held.macs:.1f} %" if entry.macs and held.macs else ""
        macs = "" if entry.macs is None else _count(entry.macs)
        weights = _bytes(entry.weight_bytes) if entry.weight_bytes else ""
        writes = "" if entry.output_bytes is None else _bytes(entry.output_bytes)
        table.add_row(entry.op, str(entry.nodes), macs, share, weights, writes)
    return [table, *_more(len(held.operators) - len(shown), "operators")]


def _plan(plan: Planned, wide: Mapping[str, WeightSpread], work: int, everything: bool) -> list[RenderableType]:
    share = "" if plan.int8_macs is None else f", {100 * plan.int8_macs:.1f} % of the MACs"
    others = f", and {plan.others} other operator{'s' * (plan.others > 1)}" if plan.others else ""
    simulated = "  (simulated)" if plan.simulated else ""
    said = f"  would be integer: {len(plan.integer)} of {plan.layers} layers{share}{others}{simulated}"
    lines = [] if plan.problem is None else [("", Text(plan.problem, "yellow"))]
    lines += [("float", said) for said in _layers([e for e in plan.floats if e.layer], work, everything)]
    lines += [("float", said) for said in _operators_left([e for e in plan.floats if not e.layer], everything)]
    lines += [("weights", _one_grid(plan, wide))] if plan.one_grid else []
    lines += [("declined", Text(said)) for said in _counted(plan.notes)]
    return [Text.assemble((plan.title, "bold"), said), _lines(lines)]


def _layers(floats: Sequence[StaysFloat], work: int, everything: bool) -> list[Text]:
    """Linear layers in float: a line for each reason, with their names and their share of the work."""
    groups: dict[str, list[StaysFloat]] = {}
    for entry in floats:
        groups.setdefault(entry.reason, []).append(entry)
    lines = []
    for reason, group in groups.items():
        part = sum(entry.macs or 0 for entry in group)
        share = f" ({100 * part / work:.1f} % of the MACs)" if part and work else ""
        names = _names([entry.node for entry in group], everything)
        lines.append(Text(f"{len(group)} {group[0].op}{share} {names}: {reason}", "yellow"))
    return lines


def _operators_left(floats: Sequence[StaysFloat], everything: bool) -> list[Text]:
    """The others: a line for each reason, with the operators that it is true of."""
    groups: dict[str, Counter[str]] = {}
    for entry in floats:
        groups.setdefault(entry.reason.removeprefix(f"{entry.op}: "), Counter())[entry.op] += 1
    ordered = sorted(groups.items(), key=lambda item: -item[1].total())
    shown = ordered if everything else ordered[:REASONS]
    lines = []
    for reason, counts in shown:
        lines.append(Text(f"{', '.join(f'{count} {op}' for op, count in counts.most_common())}: {reason}"))
    return lines + _more(len(ordered) - len(shown), "reasons")


def _one_grid(plan: Planned, wide: Mapping[str, WeightSpread]) -> Text:
    """Layers whose weight gets one grid for all channels, and those of them that pay for it."""
    lost = {name: wide[name].loss_db for name in plan.one_grid if name in wide}
    paying = sorted((name for name in lost if lost[name] > LOSS_DB), key=lambda name: -lost[name])
    said = f"{len(plan.one_grid)} layers get one grid for all channels"
    if not paying:
        return Text(said)
    names = ", ".join(f"{shortened(name, *CUT)} {lost[name]:.0f} dB" for name in paying[:NODES])
    return Text(f"{said}; {len(paying)} of them lose by it: {names}{', ...' * (len(paying) > NODES)}", "yellow")


def _weights(weights: Sequence[WeightSpread], everything: bool) -> list[RenderableType]:
    shown = weights if everything else weights[:WEIGHTS]
    table = _table("widest spread", "channels", "largest", "/median", "one grid", "one each")
    for entry in shown:
        channels = f"{len(entry.ranges)}" + (f" ({entry.dead} dead)" if entry.dead else "")
        ratios = (f"{entry.largest:.3g} at {entry.outlier}", f"{entry.spread:.3g}")
        one = Text(_decibels(entry.per_tensor.channel_db), "yellow" if entry.loss_db > LOSS_DB else "")
        table.add_row(shortened(entry.layer, *CUT), channels, *ratios, one, _decibels(entry.per_channel.channel_db))
    said = "Signal over error of the median channel, rounded to 8 bits: one grid for all channels, or one each."
    return [table, *_more(len(weights) - len(shown), "weights"), Text(said, "dim")]


def _counted(notes: Sequence[Entry]) -> list[str]:
    """What rewrites declined: the reasons given most often."""
    counts = Counter(entry.reason for entry in notes).most_common(REASONS)
    return [f"{f'{count} × ' if count > 1 else ''}{reason}" for reason, count in counts]


def _more(count: int, what: str) -> list[Text]:
    return [Text(f"and {count} more {what}: --all shows them", "dim")] if count > 0 else []


def _names(names: Sequence[str], everything: bool) -> str:
    shown = names if everything else names[:NODES]
    return ", ".join(shortened(name, *CUT) for name in shown) + ", ..." * (len(names) > len(shown))


def _lines(said: Sequence[tuple[str, Text]]) -> Table:
    """A title and a text a line, which is wrapped beside it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=8, no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for title, text in said:
        table.add_row(title, text)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title != titles[0] else "left", no_wrap=True)
    return table


def _count(number: int) -> str:
    return _scaled(number, "")


def _bytes(number: int) -> str:
    return _scaled(number, "B")


def _scaled(number: int, unit: str) -> str:
    """Three digits and a prefix: ``1.23 k``, ``540 MB``."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number} {unit}".strip()


def _decibels(value: float) -> str:
    return "exact" if value == float("inf") else f"{value:.1f} dB"
