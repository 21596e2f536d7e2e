"""Remedies are added up as long as there is time, and what was found to help is not lost for want of it."""

from dataclasses import dataclass

import pytest

from onnxq.diagnosing.cure import Cure, Tried, cured
from onnxq.diagnosing.remedies import Remedy
from onnxq.recipe import Recipe


def same(recipe: Recipe) -> Recipe:
    return recipe


SMALL, LARGE, USELESS = (Remedy(name, name, same) for name in ("small", "large", "useless"))
GAIN_DB = {"small": 3.0, "large": 10.0, "useless": 0.1}


@dataclass
class Made:
    """Gains add up; every trial takes a second."""

    left: float

    def __call__(self, recipe: Recipe, names: tuple[str, ...], said: str) -> Tried:
        self.left -= 1
        return Tried(names, said, 10 ** (-sum(GAIN_DB[name] for name in names) / 10), 1.0)


def cure(seconds: float) -> Cure:
    made = Made(seconds)
    return cured(Recipe(()), [SMALL, USELESS, LARGE], made, lambda: made.left, lambda done, total: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "names", "untried"),
    [
        (100, ("large", "small"), ()),
        (4.5, ("large", "small"), ()),
        (4, ("large",), ()),
        (3, ("small",), ("large",)),
        (2, ("small",), ("useless", "large")),
        (1, (), ("small", "useless", "large")),
    ],
)
def test_time_runs_out(seconds: float, names: tuple[str, ...], untried: tuple[str, ...]) -> None:
    found = cure(seconds)
    assert (found.names, found.untried) == (names, untried)
    assert found.noise == pytest.approx(10 ** (-sum(GAIN_DB[name] for name in names) / 10))
