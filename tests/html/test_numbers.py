"""Quantities in words."""

import math

import pytest

from onnxq.html.numbers import decibel, duration, many, percent, size


@pytest.mark.parametrize(
    ("value", "said"),
    [(39.99, "40.0 dB"), (math.inf, "exact"), (-math.inf, "unlike"), (math.nan, "–"), (None, "–")],
)
def test_decibel(value: float | None, said: str) -> None:
    assert decibel(value) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0 %"), (1.0, "100.0 %"), (0.00001, "0.001 %"), (0.5, "50.0 %"), (None, "–")]
)
def test_percent(share: float | None, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize(("count", "said"), [(960, "960"), (147456, "147 k"), (4.1e9, "4.1 G"), (None, "–")])
def test_many(count: float | None, said: str) -> None:
    assert many(count) == said


def test_size_and_duration() -> None:
    assert [size(12), size(128_771), size(278_248), size(5 * 10**9)] == ["12 bytes", "0.13 MB", "0.28 MB", "5.00 GB"]
    assert [duration(2), duration(0.0123), duration(5.14e-5)] == ["2 s", "12.3 ms", "51.4 µs"]
