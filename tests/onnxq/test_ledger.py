"""Facts in the order they happened, each kept once."""

from onnxq.ledger import Entry, Ledger


def test_a_fact_said_twice_is_kept_once_and_copies_are_apart() -> None:
    ledger = Ledger()
    ledger.add("float", "plan", "a", "too small", "Conv")
    ledger.add("float", "plan", "a", "too small", "Conv")
    ledger.add("float", "plan", "b", "too small")
    ledger.add("float", "plan", "c", "excluded")
    copy = ledger.copy()
    copy.add("warning", "plan", "d", "idle")
    assert ledger.of("float")[0] == Entry("float", "plan", "a", "too small", "Conv")
    assert [entry.subject for entry in ledger.of("float")] == ["a", "b", "c"]
    assert ledger.reasons("float") == [("too small", 2), ("excluded", 1)]
    assert not ledger.of("warning") and len(copy.of("warning")) == 1
