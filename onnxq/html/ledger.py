"""The ledger in plain words: what was done and why, what was not and why not."""

from collections.abc import Sequence

from onnxq.html.markup import Html, joined, name_of, tag
from onnxq.html.told import Told
from onnxq.ledger import Entry, Kind

WORDS: dict[Kind, tuple[str, str]] = {
    "warning": ("Look at this", "May make the result worse than it should be."),
    "declined": ("Not done", "Could have been done, and was not, for a reason."),
    "float": ("Stays in floating point", "Nodes that compute in float, which costs speed and no accuracy."),
    "clipped": ("Cut to fit", "Values beyond a range that was chosen smaller, so that all others are rounded finer."),
    "changed": ("Changed", "What was rewritten, or chosen otherwise than by default."),
}


def ledger(told: Told) -> Html:
    """What holds for all backends once, then what is particular to each."""
    entries = {entry.title: list(entry.ledger) for entry in told.backends.values()}
    shared: list[Entry] = []
    if len(entries) > 1:
        first, *others = entries.values()
        shared = [one for one in first if one.kind != "clipped" and all(one in other for other in others)]
    parts = [_of_backend("All backends", shared)] if shared else []
    known = set(shared)
    parts += [_of_backend(title, [one for one in own if one not in known]) for title, own in entries.items()]
    said = "Nothing is done silently: every change, and everything that was left alone, has its reason."
    return tag("section", tag("h2", "What was done, and why"), tag("p", said, class_="muted"), *parts, id="ledger")


def _of_backend(title: str, entries: Sequence[Entry]) -> Html:
    parts = []
    for kind, (heading, meaning) in WORDS.items():
        found = [entry for entry in entries if entry.kind == kind]
        if found:
            parts.append(tag("h4", heading, tag("span", f" {meaning}", class_="muted")))
            parts.append(tag("ul", *_clipped(found) if kind == "clipped" else _reasons(found)))
    return tag("div", tag("h3", title), *(parts or [tag("p", "Nothing beside that.", class_="muted")]), class_="block")


def _reasons(entries: Sequence[Entry]) -> list[Html]:
    """One item a reason, the most frequent first, with what it is about folded away."""
    grouped: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        grouped.setdefault((entry.reason, entry.stage), []).append(entry)
    ordered = sorted(grouped.items(), key=lambda item: -len(item[1]))
    return [_item(reason, stage, found) for (reason, stage), found in ordered]


def _item(reason: str, stage: str, found: Sequence[Entry]) -> Html:
    said = joined([f"{len(found)} × " if len(found) > 1 else "", reason, " ", tag("code", stage)])
    about = [one for one in found if one.subject != "graph" or one.detail]
    if not about:
        return tag("li", said)
    return tag("li", tag("details", tag("summary", said), tag("ul", *map(_subject, about))))


def _subject(entry: Entry) -> Html:
    detail = f": {entry.detail}" if entry.detail else ""
    return tag("li", f"{entry.op_type} " if entry.op_type else "", name_of(entry.subject), detail)


def _clipped(entries: Sequence[Entry]) -> list[Html]:
    """One item for all: of each tensor a small part is cut, each by another number."""
    lines = (tag("li", name_of(one.subject), f": {one.reason}") for one in entries)
    tensors = "1 tensor" if len(entries) == 1 else f"{len(entries)} tensors"
    return [tag("li", tag("details", tag("summary", f"{tensors}, a part of their values"), tag("ul", *lines)))]
