"""Times as people write them."""

import pytest
import typer

from onnxq.cli.duration import seconds


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("1.5m", 90), (" 10m ", 600), ("1 h", 3600)])
def test_times(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "0", "0m", "-5", "6x", "m", "1h30m", "nan"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="10m"):
        seconds(text)
