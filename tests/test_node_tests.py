"""The ONNX standard's own tests of its operators are treated as docs/node_tests.md says; all of them by its command."""

from itertools import groupby
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from node_cases import Case, cases
from node_outcomes import outcome
from node_tests import rows

PAGE = Path(__file__).parents[1] / "docs/node_tests.md"
EVERY = 4  # of so many operators one is tested here


@pytest.fixture(scope="module")
def by_operator() -> dict[str, list[Case]]:
    found = sorted(cases(), key=lambda case: case.operator)
    return {operator: list(some) for operator, some in groupby(found, lambda case: case.operator)}


def test_some_operators_are_treated_as_the_page_says(by_operator: dict[str, list[Case]]) -> None:
    found = [outcome(case) for operator in list(by_operator)[::EVERY] for case in by_operator[operator]]
    assert not [entry.case.name for entry in found if entry.failed]
    text = PAGE.read_text()
    if f"onnx {onnx.__version__} " in text and f"onnxruntime {ort.__version__} " in text:  # others know other tests
        assert [row for row in rows(found) if f"| {' | '.join(row)} |\n" not in text] == []


def test_the_page_says_that_none_fails(by_operator: dict[str, list[Case]]) -> None:
    text = PAGE.read_text()
    assert "FAILED" not in text
    assert "**0 change it**" in text and "**0 give a graph that does not load**" in text
    assert len(by_operator) <= text.count("\n| ") + 20
