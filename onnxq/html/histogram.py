"""How often an activation had which value, with the range that was chosen for it drawn in."""

import math
from collections.abc import Callable, Iterable

from onnxq.html.markup import Html, joined, name_of, tag
from onnxq.html.numbers import decibel, percent
from onnxq.html.told import ToldActivation
from onnxq.portrait import SeenValues

WIDTH, HEIGHT, TOP = 320.0, 84.0, 4.0


def histogram(name: str, tensor: ToldActivation, seen: SeenValues, anchor: str) -> Html:
    """A figure; bars stand on a logarithmic scale, or the tails that a range cuts could not be seen."""
    low, high = min(seen.low, tensor.low), max(seen.high, tensor.high)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return WIDTH * (value - low) / span

    left, right = at(tensor.low), at(tensor.high)
    said = f"Values from {seen.low:.4g} to {seen.high:.4g}; range chosen {tensor.low:.4g} to {tensor.high:.4g}"
    chosen = tag("rect", class_="chosen", x=left, y=0, width=max(right - left, 1.0), height=HEIGHT)
    inside, outside = _bars(seen, tensor, at)
    ends = joined(tag("line", class_="end", x1=x, x2=x, y1=0, y2=HEIGHT) for x in (left, right))
    zero = tag("line", class_="zero", x1=at(0), x2=at(0), y1=0, y2=HEIGHT) if low < 0 < high else ""
    base = tag("line", class_="base", x1=0, x2=WIDTH, y1=HEIGHT, y2=HEIGHT)
    drawing = tag(
        "svg",
        *(chosen, inside, outside, zero, base, ends),
        viewbox=f"-1 0 {WIDTH + 2:g} {HEIGHT + 1:g}",
        preserveaspectRatio="none",
        role="img",
        aria_label=said,
    )
    scale = tag("p", tag("span", f"{low:.4g}"), tag("span", f"{high:.4g}"), class_="scale")
    facts = (
        f"range {tensor.low:.4g} … {tensor.high:.4g}, {percent(seen.clipped, 2)} clipped, "
        f"SQNR {decibel(seen.sqnr_db)}, {tensor.grid}"
    )
    words = tag("figcaption", name_of(name), tag("span", facts, class_="muted"))
    return tag("figure", words, drawing, scale, id=anchor)


def _bars(seen: SeenValues, tensor: ToldActivation, at: Callable[[float], float]) -> tuple[Html, Html]:
    """Two paths: what the range holds, and what it clips."""
    count = len(seen.counts)
    most = math.log1p(max(seen.counts))
    width = (seen.high - seen.low) / count
    inside: list[str] = []
    outside: list[str] = []
    for index, times in enumerate(seen.counts):
        if times > 0 and most > 0:
            begin, end = seen.low + index * width, seen.low + (index + 1) * width
            tall = (HEIGHT - TOP) * math.log1p(times) / most
            middle = (begin + end) / 2
            where = inside if tensor.low <= middle <= tensor.high else outside
            right = max(at(end) - at(begin) - 0.5, 0.5)
            where.append(f"M{at(begin):.1f} {HEIGHT:g}v{-tall:.1f}h{right:.1f}v{tall:.1f}z")
    return _path(inside, "held"), _path(outside, "cut")


def _path(parts: Iterable[str], kind: str) -> Html:
    drawn = "".join(parts)
    return tag("path", class_=kind, d=drawn) if drawn else Html()
