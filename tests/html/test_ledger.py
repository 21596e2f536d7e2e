"""The ledger in plain words."""

from onnxq.html.ledger import ledger
from onnxq.html.told import Told, ToldBackend
from onnxq.ledger import Entry

SHARED = Entry("changed", "fold", "graph", "three folded")
FLOATS = [Entry("float", "plan", f"mul{i}", "a neighbour is float", "Mul") for i in range(3)]
CLIPPED = [Entry("clipped", "calibrate", f"t{i}", f"{i} % clipped") for i in range(2)]


def told(*ledgers: list[Entry]) -> Told:
    backends = {f"b{i}": ToldBackend(f"B{i}", 1, 1, tuple(entries)) for i, entries in enumerate(ledgers)}
    return Told("m", "d", backends)


def test_what_holds_for_all_is_told_once() -> None:
    text = ledger(told([SHARED, *FLOATS], [SHARED]))
    assert text.count("three folded") == 1
    assert text.index("All backends") < text.index("three folded") < text.index("<h3>B0") < text.index("<h3>B1")
    assert "Nothing beside that" in text


def test_a_reason_is_told_once_with_all_that_it_is_about() -> None:
    text = ledger(told(FLOATS))
    assert text.count("a neighbour is float") == 1 and "3 × " in text
    assert all(f"mul{i}" in text for i in range(3)) and "Stays in floating point" in text


def test_clipped_tensors_are_one_item() -> None:
    text = ledger(told(CLIPPED))
    assert "2 tensors" in text and all(one.reason in text for one in CLIPPED)
