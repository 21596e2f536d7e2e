"""The histograms of every backend, those whose grid costs most first."""

from collections.abc import Iterator, Mapping

from onnxq.html.histogram import histogram
from onnxq.html.markup import Html, joined, tag
from onnxq.html.told import Told, ToldBackend

AT_ONCE = 40  # of them are shown without a press

Anchors = Mapping[tuple[str, str], str]


def anchors(told: Told) -> Anchors:
    """Where each histogram is found in the page, by backend and tensor."""
    return {
        (backend, tensor): f"values-{place}-{number}"
        for place, (backend, entry) in enumerate(told.backends.items())
        for number, tensor in enumerate(_drawn(entry))
    }


def activations(told: Told, known: Anchors) -> Html:
    """The section, if anything is known of values."""
    if not known:
        return Html()
    parts = [
        _of_backend(backend, entry, known, opened=len(known) <= AT_ONCE or place == 0)
        for place, (backend, entry) in enumerate(told.backends.items())
        if any(_drawn(entry))
    ]
    said = (
        "Values that activations had on the samples, with the range chosen for their integers shaded. What lies "
        "outside is clipped. Heights are logarithmic; the lowest SQNR comes first."
    )
    return tag("section", tag("h2", "Values and ranges"), tag("p", said, class_="muted"), *parts, id="values")


def _drawn(entry: ToldBackend) -> Iterator[str]:
    known = [name for name, one in entry.activations.items() if one.seen is not None and one.seen.counts]
    yield from sorted(known, key=lambda name: _sqnr(entry, name))


def _sqnr(entry: ToldBackend, name: str) -> float:
    seen = entry.activations[name].seen
    return float("inf") if seen is None or seen.sqnr_db is None else seen.sqnr_db


def _of_backend(backend: str, entry: ToldBackend, known: Anchors, opened: bool) -> Html:
    figures = []
    for name in _drawn(entry):
        seen = entry.activations[name].seen
        if seen is not None:
            figures.append(histogram(name, entry.activations[name], seen, known[backend, name]))
    summary = tag("summary", f"{entry.title}: {len(figures)} tensors")
    return tag("details", summary, tag("div", joined(figures), class_="figures"), open=opened)
