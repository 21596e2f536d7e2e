"""The whole page. Its policy lets nothing but its own style and its own script in, both known by their hash: whatever
a name in a model may contain, it cannot run, and nothing is fetched."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from onnxq.html.ablation import ablation
from onnxq.html.activations import activations, anchors
from onnxq.html.headline import headline
from onnxq.html.layers import layers
from onnxq.html.ledger import ledger
from onnxq.html.markup import Html, joined, tag
from onnxq.html.provenance import provenance
from onnxq.html.told import Told


def page(told: Told) -> str:
    """A file of its own."""
    style, script = _own("style.css"), _own("sort.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    known = anchors(told)
    head = joined(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"{told.model.replace(chr(92), '/').rsplit('/', 1)[-1]}: quantized"),
            tag("style", style),
        ]
    )
    sections = [headline(told), layers(told, known), activations(told, known), ablation(told), ledger(told)]
    body = tag("body", tag("main", *sections, provenance(told)), tag("script", script))
    return "<!DOCTYPE html>\n" + tag("html", tag("head", head), body, lang="en") + "\n"


@cache
def _own(name: str) -> Html:
    """A file of this package; none of the sort has anything of a model in it."""
    return Html(files("onnxq.html").joinpath(name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
