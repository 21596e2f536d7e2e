"""Markup that cannot be injected into: whatever is not markup already is escaped where it is put in.

Names of tensors and nodes, paths and reasons come from models and files that anyone may have made.
"""

import html
import re
from collections.abc import Iterable

EMPTY = ("rect", "path", "line", "meta")  # that have no content


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Markup as it is, other text with <, >, & and quotes written out; control characters as a box."""
    if isinstance(text, Html):
        return text
    shown = (letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return Html(html.escape("".join(shown)))


def name_of(text: str, kind: str = "name") -> Html:
    """A name, which may break into lines where its parts end."""
    parts = re.split(r"(?<=[/_:])(?=\w)", text)
    return tag("span", joined(parts, Html("<wbr>")), class_=kind)


def joined(parts: Iterable[str], between: str = "") -> Html:
    """The parts one after the other."""
    return Html(escaped(between).join(escaped(part) for part in parts))


def tag(name: str, /, *content: str, **attributes: str | float | bool | None) -> Html:
    """``<name attributes>content</name>``. Attributes that are None or False are left out, those that are True have no
    value; an underscore at the end is dropped, and one within is a hyphen."""
    words = [name, *(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))]
    if name in EMPTY and not content:
        return Html(f"<{' '.join(words)}/>")
    return Html(f"<{' '.join(words)}>{joined(content)}</{name}>")


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-").replace("viewbox", "viewBox").replace("preserveaspect", "preserveAspect")
    if value is True:
        return name
    said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'{name}="{escaped(said)}"'
