"""The table of layers."""

import re
from dataclasses import replace
from typing import Any

import pytest

from onnxq.backends.engine import Layer, Reading
from onnxq.build import Built
from onnxq.html.layers import layers, share_used
from onnxq.html.told import ToldActivation, told
from onnxq.portrait import SeenValues


def test_a_row_a_layer_and_four_columns_a_backend(told_facts: dict[str, Any]) -> None:
    text = layers(told(told_facts, ""), {})
    rows = re.findall(r"<tr>.*?</tr>", text, re.S)
    assert len(rows) == 2 + 2  # two of headings, two layers
    assert [row.count("<td") for row in rows[2:]] == [1 + 2 * 4] * 2
    assert text.count('aria-sort="none"') == 2 + 2 * 4 == text.count("<button")
    weight = told_facts["backends"]["openvino"]["weights"]
    assert all(f'data-value="{one["sqnr_db"]:.6g}"' in text for one in weight.values())
    assert text.count("planned: 8 bits") == 4


def test_what_the_engine_runs_is_told_with_its_work(told_facts: dict[str, Any]) -> None:
    found = told(told_facts, "")
    entry = found.backends["openvino"]
    nodes = [layer.node for layer in entry.layers]
    reading = Reading("engine", (Layer(nodes[0], "MatMul", "int8", "kernel"), Layer(nodes[1], "MatMul", "fp32")), 0)
    built = Built(reading, 2, 1, 0.25, None, None, {nodes[0]: 1000, nodes[1]: 3000})
    text = layers(replace(found, backends={"openvino": replace(entry, engine=built)}), {})
    assert '<span class="chip good">int8</span>' in text and '<span class="chip warn">fp32</span>' in text
    assert "kernel" in text and 'data-value="3000">3 k' in text


def test_a_layer_leads_to_the_values_that_it_reads(told_facts: dict[str, Any]) -> None:
    text = layers(told(told_facts, ""), {("openvino", "x/balanced"): "values-1-0"})
    assert text.count('href="#values-1-0"') == 1


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (SeenValues(0, 4), 0.5),
        (SeenValues(-8, 8), 1.0),
        (SeenValues(2, 4), 0.5),  # zero is on every grid
        (SeenValues(0, 8, (9999, 0, 0, 1)), 0.25),  # one far value takes three quarters of the grid
    ],
)
def test_how_much_of_a_grid_is_used(seen: SeenValues, share: float) -> None:
    assert share_used(ToldActivation("u8", 0, 8), seen) == pytest.approx(share, abs=0.01)


def test_a_grid_of_nothing_has_no_share() -> None:
    assert share_used(ToldActivation("u8", 0, 0), SeenValues(0, 0)) is None
