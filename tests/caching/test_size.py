"""Sizes as people write them."""

import pytest

from onnxq.caching.size import bytes_of, said
from onnxq.errors import RecipeError


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500M", 500_000_000), ("1.5 GB", 1_500_000_000), ("2k", 2000)])
def test_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "5 GiB", "1e9"])
def test_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--cache-size"):
        bytes_of(text)


def test_said() -> None:
    assert [said(size) for size in (0, 999, 163_690, 5 * 10**9)] == ["0 B", "999 B", "164 KB", "5 GB"]
