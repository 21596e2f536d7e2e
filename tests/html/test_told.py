"""Facts are read back; anything else is refused in a sentence that says what to give."""

import json
from pathlib import Path
from typing import Any

import pytest

from onnxq.errors import DataError
from onnxq.html import read_facts, told


def test_facts_are_read_back_whole(told_facts: dict[str, Any]) -> None:
    found = told(told_facts, "facts")
    entry = found.backends["openvino"]
    given = told_facts["backends"]["openvino"]
    assert [layer.node for layer in entry.layers] == [layer["node"] for layer in given["layers"]]
    assert {name: one.low for name, one in entry.activations.items()} == {
        name: one["low"] for name, one in given["activations"].items()
    }
    assert len(entry.ledger) == len(given["ledger"]) > 0
    assert found.ablation is not None and len(found.ablation.variants) == len(told_facts["ablation"]["variants"])


def test_numbers_that_json_lacks_come_back(told_facts: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(told_facts))
    (weight, *_) = changed["backends"]["openvino"]["weights"].values()
    weight["sqnr_db"] = "inf"
    assert float("inf") in [one.sqnr_db for one in told(changed, "").backends["openvino"].weights.values()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no facts of onnxq"),
        ('{"backends": {}}', "no facts of onnxq"),
        ('{"backends": {}, "versions": {}}', "of an earlier onnxq"),
        ('{"backends": {}, "versions": {}, "format": "onnxq facts 9"}', "of the format 'onnxq facts 9'"),
        (
            '{"backends": {"a": 3}, "versions": {}, "format": "onnxq facts 1", "model": "m", "data": "d"}',
            "field .backends",
        ),
    ],
)
def test_other_files_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as refused:
        read_facts(path)
    assert str(path) in str(refused.value) and "--json" in str(refused.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_facts(tmp_path / "none.json")
    (tmp_path / "model.onnx").write_bytes(b"\x08\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_facts(tmp_path / "model.onnx")
