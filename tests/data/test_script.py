"""``script.py:function`` runs the user's code, and says where in it an error arose."""

from pathlib import Path

import pytest

from onnxq.data.script import is_script, script_source
from onnxq.errors import DataError

CODE = """
from dataclasses import dataclass
import numpy as np

@dataclass
class Row:
    value: int

def feeds():
    for i in range(3):
        yield {"x": np.full((2, 4), Row(i).value, np.float32)}, np.array([i, i])

def broken():
    yield {"x": np.zeros((1, 4), np.float32)}
    raise KeyError("lost")

def wrong():
    return 5
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "load.py").write_text(CODE)
    return str(tmp_path / "load.py")


def test_the_form() -> None:
    assert is_script("a/b.py:f") and is_script("C:\\b.py:f")
    assert not any(is_script(text) for text in ("b.py", "b.py:", "b:f", "data.npz", "b.py:a-b"))


def test_feeds_come_again_at_every_reading(script: str) -> None:
    source = script_source(f"{script}:feeds")
    for _ in range(2):
        chunks = list(source.chunks())
        assert [chunk.count for chunk in chunks] == [2, 2, 2]
        assert chunks[2].labels is not None and chunks[2].labels[0] == 2


def test_errors_of_the_script_are_sentences(script: str) -> None:
    with pytest.raises(DataError, match=r":broken: failed with KeyError: 'lost' \(load\.py, line 15\)"):
        list(script_source(f"{script}:broken").chunks())
    with pytest.raises(DataError, match=":wrong: failed with TypeError"):
        list(script_source(f"{script}:wrong").chunks())
    with pytest.raises(DataError, match=r"unknown function 'feed'\. Did you mean 'feeds'"):
        script_source(f"{script}:feed")
    with pytest.raises(DataError, match="no such script"):
        script_source("none.py:feeds")


def test_a_script_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import numpy as np\n1 / 0\n")
    with pytest.raises(DataError, match=r"bad\.py: failed with ZeroDivisionError: .*bad\.py, line 2"):
        script_source(f"{tmp_path}/bad.py:feeds")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    with pytest.raises(DataError, match="SyntaxError"):
        script_source(f"{tmp_path}/syntax.py:f")
