"""The page as a whole: one file, well formed, that no name in a model can change."""

import re
from html.parser import HTMLParser
from typing import Any

from onnxq.html import page, told

VOID = {"meta", "wbr"}


class Outline(HTMLParser):
    """The elements that are open, and all there were."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_it_is_well_formed_and_has_every_section(told_facts: dict[str, Any]) -> None:
    outline = Outline(page(told(told_facts, "")))
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {"layers", "values", "ablation", "ledger", "provenance"} <= set(ids)
    links = [attributes["href"] for name, attributes in outline.elements if name == "a"]
    assert links and all(link and link.removeprefix("#") in ids for link in links)


def test_nothing_is_fetched(told_facts: dict[str, Any]) -> None:
    outline = Outline(page(told(told_facts, "")))
    assert not {"link", "img", "iframe", "object", "image", "use"} & {name for name, _ in outline.elements}
    assert not any("src" in attributes or "style" in attributes for _, attributes in outline.elements)
    assert "default-src 'none'" in str([attributes.get("content") for _, attributes in outline.elements])
    assert not re.search(r"url\(|@import", page(told(told_facts, "")))


def test_hostile_names_are_text(told_facts: dict[str, Any]) -> None:
    text = page(told(told_facts, ""))
    hostile = next(one["node"] for one in told_facts["backends"]["openvino"]["layers"] if "<" in one["node"])
    outline = Outline(text)
    assert hostile not in text
    assert [name for name, _ in outline.elements].count("script") == 1
    assert hostile in "".join(outline.said)


def test_folders_of_files_stay_private(told_facts: dict[str, Any]) -> None:
    changed = {**told_facts, "model": "/secret/place/m.onnx"}
    changed["backends"] = {"b": {**told_facts["backends"]["openvino"], "files": ["/secret/place/m.b.onnx"]}}
    text = page(told(changed, ""))
    assert "secret" not in text and "m.b.onnx" in text


def test_facts_without_values_make_a_page(told_facts: dict[str, Any]) -> None:
    bare = {name: told_facts[name] for name in ("format", "model", "data", "versions")}
    entry = {name: told_facts["backends"]["openvino"][name] for name in ("title", "size_before", "size_after")}
    text = page(told({**bare, "backends": {"b": {**entry, "ledger": []}}}, ""))
    assert 'id="layers"' not in text and 'id="ledger"' in text
