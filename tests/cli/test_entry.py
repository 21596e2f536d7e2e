"""The command as it starts: whatever is typed reaches the whole command line, unless a cache has what it makes."""

import sys

import pytest

from onnxq.cli import entry


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Usage: "),
        ("--version", "onnxq "),
        ("quantize --cache", "requires an argument"),
        ("quantize --cache= -x", "No such option"),
    ],
)
def test_the_whole_command_answers(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["onnxq", *typed.split()])
    with pytest.raises(SystemExit):
        entry.main()
    assert said in "".join(capfd.readouterr())
