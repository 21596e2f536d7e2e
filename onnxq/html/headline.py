"""A card for each backend: how right, how fast, how small, and how much of it in integers."""

from collections.abc import Iterator

from onnxq.html.bar import bar
from onnxq.html.markup import Html, joined, tag
from onnxq.html.numbers import decibel, duration, percent, size
from onnxq.html.told import Told, ToldBackend

FINE, NOTICED = 0.5, 2.0  # points of a metric lost


def headline(told: Told) -> Html:
    """All cards, after what was quantized and on what."""
    name = told.model.replace("\\", "/").rsplit("/", 1)[-1]
    head = tag("header", tag("h1", name), tag("p", f"{told.task} {told.data}", class_="muted"))
    warning = Html()
    if told.smoke_test:
        said = "Random data: a smoke test. Its ranges, and so its accuracy, mean nothing."
        warning = tag("p", said, class_="alert")
    cards = joined(_card(entry) for entry in told.backends.values())
    return joined([head, warning, tag("section", cards, class_="cards", aria_label="Headline")])


def _card(entry: ToldBackend) -> Html:
    engine = entry.engine.reading.engine if entry.engine else "not built"
    if entry.simulated:
        engine = "simulated by onnxruntime, not built"
    problem = tag("p", f"The engine refused it: {entry.problem}", class_="alert") if entry.problem else ""
    rows = [*_accuracy(entry), *_likeness(entry), *_speed(entry), _size(entry), *_integers(entry)]
    return tag("article", tag("h2", entry.title), tag("p", engine, class_="muted"), problem, tag("dl", *rows))


def _row(title: str, said: str, below: str, verdict: str = "", drawn: str = "") -> Html:
    value = tag("dd", tag("strong", said, class_=verdict or None), tag("span", below, class_="muted"), drawn)
    return tag("div", tag("dt", title), value)


def _accuracy(entry: ToldBackend) -> Iterator[Html]:
    scores = entry.accuracy.scores if entry.accuracy else None
    if scores is None:
        return
    deployed = scores.engine is not None
    found = scores.engine if scores.engine is not None else scores.graph
    lost = scores.fp32 - found
    verdict = "good" if lost <= FINE else "warn" if lost <= NOTICED else "bad"
    where = "in the engine" if deployed else "in simulation"
    below = f"{where}, FP32 {scores.fp32:.2f} {scores.unit} ({0.0 - lost:+.2f}), {scores.samples} samples"
    yield _row(scores.metric, f"{found:.2f} {scores.unit}", below, verdict)


def _likeness(entry: ToldBackend) -> Iterator[Html]:
    sides = (entry.accuracy.engine, entry.accuracy.graph) if entry.accuracy else ()
    for side, where in zip(sides, ("engine", "graph"), strict=False):
        if side:
            worst = min(side, key=lambda like: like.sqnr_db)
            agree = f", arg-max agrees in {worst.agreement:.1f} %" if worst.agreement is not None else ""
            below = f"{where} against FP32, output {worst.output}{agree}"
            yield _row("signal to error", decibel(worst.sqnr_db), below)
            return


def _speed(entry: ToldBackend) -> Iterator[Html]:
    built = entry.engine
    if built is None or built.speedup is None or built.seconds is None or built.fp32_seconds is None:
        return
    said = f"{duration(built.fp32_seconds)} → {duration(built.seconds)} a run, batch 1"
    yield _row("speed", f"{built.speedup:.2f}×", said, "good" if built.speedup >= 1 else "warn")


def _size(entry: ToldBackend) -> Html:
    share = entry.size_after / entry.size_before if entry.size_before else None
    said = f"{size(entry.size_before)} → {size(entry.size_after)}"
    return _row("size", percent(share, 0), said, drawn=bar(share))


def _integers(entry: ToldBackend) -> Iterator[Html]:
    built = entry.engine
    if built is None:
        planned = sum(layer.weight is not None for layer in entry.layers)
        if entry.layers:
            yield _row("planned in integers", f"{planned} of {len(entry.layers)}", "linear layers, not built")
        return
    layers = built.reading.layers
    if count := sum(layer.precision == "fp8" for layer in layers):
        yield _row("in FP8", f"{count} of {built.nodes}", f"linear layers, {built.reading.conversions} conversions")
        return
    if count := sum(layer.precision.endswith(" weights") for layer in layers):
        yield _row("stored as integers", f"{count} of {built.nodes}", "weights of linear layers that compute in float")
    below = f"{built.int8_nodes} of {built.nodes} linear layers, {built.reading.conversions} conversions"
    if built.int8_macs is None:
        yield _row("in INT8", f"{built.int8_nodes} of {built.nodes}", "linear layers")
        return
    verdict = "good" if built.int8_macs > 0.99 else "warn"
    yield _row("in INT8", percent(built.int8_macs), f"of the MACs; {below}", verdict, bar(built.int8_macs, verdict))
