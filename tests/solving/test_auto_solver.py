"""Auto is, row by row, the best of what it tries."""

import numpy as np
import pytest

from onnxq.errors import RecipeError
from onnxq.solving import Auto, chosen
from onnxq.solving.auto import TRIED
from random_problems import SHARED, brute_force, problem


@pytest.mark.parametrize("shared", SHARED)
def test_no_row_is_worse_than_with_any_of_them(shared: str) -> None:
    of = problem((2, 5, 24), 3, shared=shared, samples=100)
    together = of.grid.over_rows(of.error(Auto()(of))[:, :, None])
    for choice in TRIED:
        assert (together <= of.grid.over_rows(of.error(chosen(choice)(of))[:, :, None]) * (1 + 1e-9)).all()


def test_on_one_grid_it_is_nearly_always_the_best_there_is() -> None:
    on_grid = {"gptq": {"search": False, "scales": 1}}
    tried = tuple({"coordinate_descent": {"start": start, "scales": False}} for start in (on_grid, "nearest"))
    many = [problem((1, 1, 3), 3, seed=seed) for seed in range(40)]
    reached = [of.error(Auto(of=tried)(of)).sum() <= brute_force(of) * (1 + 1e-9) for of in many]
    assert np.mean(reached) >= 0.9


@pytest.mark.parametrize(
    ("of", "said"), [((), "of: no solver is named"), (("gptq", "gptk"), "of: unknown solver 'gptk'")]
)
def test_options_that_are_none(of: tuple[str, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Auto(of=of)
