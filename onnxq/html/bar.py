"""A bar under a number."""

import math

from onnxq.html.markup import Html, tag


def bar(share: float | None, kind: str = "") -> Html:
    """As long as ``share`` of its cell; none where it is not known. The number beside it says the same in words."""
    if share is None or math.isnan(share):
        return Html()
    length = 100 * min(max(share, 0.0), 1.0)
    track = tag("rect", class_="track", width=100, height=4, rx=2)
    filled = tag("rect", class_=f"fill {kind}".strip(), width=length, height=4, rx=2)
    return tag("svg", track, filled, class_="bar", viewbox="0 0 100 4", preserveaspectRatio="none", aria_hidden="true")
