"""The order of passes is checked without a model."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from onnxq.errors import RecipeError
from onnxq.options import Options
from onnxq.passes import InsertQdq, PlanIntegers, RoundWeights
from onnxq.recipe import RECIPES, check_recipe
from onnxq.recipes.order import check_passes, disagreements
from onnxq.recipes.text import recipe_text
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class Mine:
    """It may plan and calibrate, for all that is known."""

    name: ClassVar[str] = "mine"

    def __call__(self, workspace: Workspace) -> bool:
        return False


@pytest.mark.parametrize(
    ("passes", "said"),
    [
        ("calibrate, plan", "'calibrate' runs before 'plan'. Put 'plan' before it."),
        ("plan, round_weights, insert_qdq", "'insert_qdq' runs before 'calibrate'."),
        ("plan, round_weights: {solver: gptq}, calibrate", "'round_weights' runs before 'calibrate'."),
        ("plan, calibrate, correct_bias", "'correct_bias' runs before 'round_weights'."),
        ("plan, calibrate, round_weights, insert_qdq, correct_bias", "'correct_bias' has to come before 'insert_qdq'."),
        ("plan, calibrate, round_weights", "End it with 'insert_qdq'."),
        ("plan, calibrate, round_weights, insert_qdq]\nbackend: [openvno", "Did you mean 'openvino'?"),
    ],
)
def test_what_cannot_run_is_said(tmp_path: Path, passes: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"passes: [{passes}]")
    with pytest.raises(RecipeError, match=re.escape(said)) as caught:
        check_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_runs_is_good(tmp_path: Path) -> None:
    for name, recipe in RECIPES.items():
        assert check_recipe(name) == recipe
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe_text(recipe, "in words\nof two lines"))
        assert check_recipe(path) == recipe
    check_passes((PlanIntegers(activations=False), RoundWeights(), InsertQdq()))


def test_passes_that_go_by_other_integers_than_are_made_are_told() -> None:
    default = RECIPES["default"]
    assert disagreements(default.passes) == []
    few = default.changed(RoundWeights, bits=4, per_channel=False, solver="nearest")
    assert disagreements(few.changed(PlanIntegers, activation_bits=16).passes) == [
        "equalize_channels: per_channel is true, and goes with round_weights: per_channel, which makes it false",
        "balance_activations: activation_bits is null, and goes with plan: activation_bits, which makes it 16",
        "balance_activations: bits is null, and goes with round_weights: bits, which makes it 4",
        "balance_activations: per_channel is true, and goes with round_weights: per_channel, which makes it false",
        "balance_activations: solved is true, and goes with round_weights: solver, which makes it false",
    ]
    options = Options(weight_bits=4, per_tensor=True, solver="nearest", activation_bits=16)
    assert disagreements(options.applied(default).passes) == []


def test_nothing_is_said_of_what_comes_behind_a_pass_of_the_users_own() -> None:
    check_passes((Mine(), InsertQdq()))
