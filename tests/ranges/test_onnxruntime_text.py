"""The text beside onnxruntime's JSON is read, or refused by its line."""

import pytest

from onnxq.errors import DataError
from onnxq.ranges.onnxruntime_text import read


def test_each_number_is_both_ends() -> None:
    found = read("a b 2.5\nc 1e-3\n", "a.cache")
    assert {name: (float(entry.low), float(entry.high)) for name, entry in found.items()} == {
        "a b": (-2.5, 2.5),
        "c": (-1e-3, 1e-3),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n", "line 1: 'a' is not `tensor number`"),
        ("a 1\nb: x\n", "line 2: 'b: x' is not"),
        ("a -2\n", "its scale is negative"),
        ("a nan\n", "float32 numbers are wanted"),
        ("a 1\na 2\n", "twice"),
    ],
)
def test_what_is_no_such_text_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError, match=r"a\.cache") as caught:
        read(text, "a.cache")
    assert said in str(caught.value)
