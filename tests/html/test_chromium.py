"""The page as a reader sees and uses it, in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxq.html import page, told

FIRST_COLUMN = "[...document.querySelectorAll('#layers tbody tr')].map(row => row.cells[0].innerText.split('\\n')[0])"
CONTRAST = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.slice(0, 3).map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = channels(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const ratios = [...document.querySelectorAll('main *')]
    .filter((node) => [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim()))
    .map((node) => [light(channels(getComputedStyle(node).color)), light(behind(node))])
    .map(([one, other]) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05));
  return Math.min(...ratios);
})()
"""


@pytest.fixture
def written(told_facts: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(page(told(told_facts, "")))
    return path


def heading(words: str) -> str:
    found = f"find(th => th.innerText.startsWith('{words}'))"
    return f"[...document.querySelectorAll('#layers th[aria-sort]')].{found}"


def test_pressing_a_heading_sorts(written: Path, told_facts: dict[str, Any], opened: Callable[..., Any]) -> None:
    tab = opened(written)
    entry = told_facts["backends"]["onnxruntime"]
    nodes = [layer["node"] for layer in entry["layers"]]
    weights = {layer["node"]: entry["weights"][layer["weight"]]["sqnr_db"] for layer in entry["layers"]}
    assert tab.seen(FIRST_COLUMN) == nodes
    for order in ("descending", "ascending"):
        tab.click(f"{heading('weight SQNR')}.querySelector('button')")
        assert tab.seen(f"{heading('weight SQNR')}.getAttribute('aria-sort')") == order
        assert tab.seen(FIRST_COLUMN) == sorted(nodes, key=weights.__getitem__, reverse=order == "descending")
    tab.click(f"{heading('#')}.querySelector('button')")
    assert tab.seen(FIRST_COLUMN) == nodes
    assert tab.seen(f"{heading('weight SQNR')}.getAttribute('aria-sort')") == "none"
    assert tab.seen("document.querySelectorAll('th[aria-sort=\"ascending\"]').length") == 1


def test_a_heading_is_pressed_by_the_keyboard(written: Path, opened: Callable[..., Any]) -> None:
    tab = opened(written)
    tab.seen(f"{heading('layer')}.querySelector('button').focus()")
    for kind in ("keyDown", "keyUp"):
        tab("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert tab.seen(f"{heading('layer')}.getAttribute('aria-sort')") == "ascending"
    names = tab.seen(FIRST_COLUMN)
    assert tab.seen(f"{FIRST_COLUMN}.sort(new Intl.Collator('en').compare)") == names


def test_layers_without_a_value_come_last(
    told_facts: dict[str, Any], tmp_path: Path, opened: Callable[..., Any]
) -> None:
    entry = told_facts["backends"]["openvino"]
    first, second = entry["layers"]
    lacking = {**entry, "layers": [{**first, "weight": None}, second]}
    (tmp_path / "r.html").write_text(page(told({**told_facts, "backends": {"openvino": lacking}}, "")))
    tab = opened(tmp_path / "r.html")
    for _ in range(2):
        tab.click(f"{heading('weight SQNR')}.querySelector('button')")
        assert tab.seen(FIRST_COLUMN) == [second["node"], first["node"]]


def test_layers_without_any_error_come_first(
    told_facts: dict[str, Any], tmp_path: Path, opened: Callable[..., Any]
) -> None:
    changed = json.loads(json.dumps(told_facts))
    entry = changed["backends"]["openvino"]
    last = entry["layers"][1]["node"]
    entry["weights"][entry["layers"][1]["weight"]]["sqnr_db"] = "inf"
    (tmp_path / "r.html").write_text(page(told({**changed, "backends": {"openvino": entry}}, "")))
    tab = opened(tmp_path / "r.html")
    tab.click(f"{heading('weight SQNR')}.querySelector('button')")
    assert tab.seen(FIRST_COLUMN)[0] == last


def test_nothing_is_fetched_and_nothing_of_a_model_runs(written: Path, opened: Callable[..., Any]) -> None:
    tab = opened(written)
    assert tab.fetched == [written.as_uri()]
    wrong = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
    assert [one for one in tab.told if one.get("method") in wrong] == []
    # Its policy runs its own script alone, whatever gets in.
    tab.seen("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    assert tab.seen("typeof window.ran") == "undefined"


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_never_scrolls_sideways(written: Path, width: int, opened: Callable[..., Any]) -> None:
    tab = opened(written, width)
    tab.seen("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.seen("document.documentElement.scrollWidth") == width
    if width == 390:  # the table does, in its box
        assert tab.seen("(box => box.scrollWidth > box.clientWidth)(document.querySelector('#layers .scroll'))")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_in_both_themes(written: Path, theme: str, opened: Callable[..., Any]) -> None:
    tab = opened(written, theme=theme)
    shade = tab.seen("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert shade < 64 if theme == "dark" else shade > 192
    assert tab.seen(CONTRAST) >= 4.5  # WCAG 2.2, success criterion 1.4.3


def test_a_layer_leads_to_its_values(written: Path, opened: Callable[..., Any]) -> None:
    tab = opened(written)
    tab.click("document.querySelectorAll('#layers td a')[1]")
    target = "document.querySelector('figure:target')"
    assert tab.seen(f"{target}.checkVisibility()") is True
    assert tab.seen(f"{target}.querySelector('svg .chosen').getBoundingClientRect().width") > 10
