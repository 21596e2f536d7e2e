"""What several tests of metrics share."""

from collections.abc import Callable

import pytest

from onnxq.models.card import Card


@pytest.fixture
def card() -> Callable[..., Card]:
    """A card of one input, 64 x 64, with these fields."""

    def make(**fields: object) -> Card:
        base: dict[str, object] = {
            "name": "n",
            "summary": "s",
            "model": "m",
            "licence": "l",
            "made": "by hand",
            "inputs": {"x": {"shape": ["N", 3, 64, 64], "dtype": "float32"}},
            "calibration": "c",
        }
        return Card.model_validate(base | fields)

    return make
