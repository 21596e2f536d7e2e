"""Recipes are lists of passes; what is wrong in one is said in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from onnxq.errors import RecipeError
from onnxq.facts import plain
from onnxq.passes import (
    BalanceActivations,
    Calibrate,
    CorrectBias,
    DropIdle,
    EqualizeChannels,
    FoldBatchNorm,
    FoldConstants,
    FoldGemmFactors,
    FoldScale,
    FusePad,
    InsertQdq,
    MergeSlices,
    PlanIntegers,
    RoundWeights,
)
from onnxq.recipe import RECIPES, Recipe, load_recipe
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class Mine:
    """A user's own pass."""

    strength: float = 1.0
    name: ClassVar[str] = "mine"

    def __call__(self, workspace: Workspace) -> bool:
        return False


def test_the_default_recipe() -> None:
    assert [type(step) for step in load_recipe("default").passes] == [
        FoldConstants, DropIdle, MergeSlices, FusePad, FoldBatchNorm, FoldScale, FoldGemmFactors, EqualizeChannels,
        BalanceActivations, PlanIntegers, Calibrate, RoundWeights, CorrectBias, InsertQdq,
    ]  # fmt: skip


def test_a_recipe_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("""
backend: openvino
passes:
  - fold_constants
  - plan: {exclude: ["/head/.*"], keep_float: [Softmax]}
  - calibrate: {activations: percentile, percentile: 99.9}
  - round_weights: {bits: 4}
  - insert_qdq:
""")
    recipe = load_recipe(path)
    assert recipe.backends == ("openvino",)
    assert recipe.passes == (
        FoldConstants(),
        PlanIntegers(("/head/.*",), ("Softmax",)),
        Calibrate("percentile", 99.9),
        RoundWeights(4),
        InsertQdq(),
    )
    assert load_recipe(str(path)) == recipe and load_recipe(recipe) is recipe
    assert load_recipe({"passes": [], "backend": ["tensorrt", "openvino"]}).backends == ("tensorrt", "openvino")


def test_a_recipe_written_down_is_read_back_the_same() -> None:
    changed = RECIPES["default"].changed(RoundWeights, bits=3).changed(PlanIntegers, exclude=("a", "b"))
    for recipe in (*RECIPES.values(), changed):
        text = yaml.safe_dump({"passes": plain(recipe.written())})
        assert load_recipe(yaml.safe_load(text)) == recipe


def test_a_pass_of_the_user_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passes_for_recipe_test.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass(frozen=True)\nclass Mine:\n"
        "    strength: float = 1.0\n    name: ClassVar[str] = 'mine'\n    def __call__(self, workspace): return False\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = load_recipe({"passes": ["fold_constants", {"passes_for_recipe_test:Mine": {"strength": 2}}]})
    assert recipe.written()[1] == {"passes_for_recipe_test:Mine": {"strength": 2.0}}
    assert load_recipe({"passes": recipe.written()}) == recipe
    with pytest.raises(
        RecipeError, match=r"pass 'passes_for_recipe_test:Mine': unknown field 'strenght'. Did you mean 'strength'"
    ):
        load_recipe({"passes": [{"passes_for_recipe_test:Mine": {"strenght": 2}}]})
    (tmp_path / "broken_passes_for_recipe_test.py").write_text("1 / 0")
    with pytest.raises(RecipeError, match="cannot be imported: division by zero"):
        load_recipe({"passes": ["broken_passes_for_recipe_test:Mine"]})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"passes": ["fold_constant"]}, "unknown pass 'fold_constant'. Did you mean 'fold_constants'?"),
        ({"passes": [{"plan": {"exlude": []}}]}, "pass 'plan': unknown field 'exlude'. Did you mean 'exclude'?"),
        ({"passes": [{"plan": {"exclude": ["("]}}]}, "'(' is not a regular expression"),
        ({"passes": [{"plan": {"exclude": "head"}}]}, "field 'exclude' is 'head'"),
        ({"passes": [{"calibrate": {"activations": "msee"}}]}, "Did you mean 'mse'?"),
        ({"passes": [{"calibrate": {"percentile": 99}}]}, "must be 'percentile'"),
        ({"passes": [{"calibrate": {"activations": {"lq": {"p": 3}}}}]}, "Did you mean 'lp'?"),
        (
            {"passes": [{"calibrate": {"activations": {"lp": {"q": 3}}}}]},
            "'calibrate': activations: lp: unknown field 'q'. Valid: p.",
        ),
        (
            {"passes": [{"calibrate": {"activations": {"moving_average": {"constnat": 0.1}}}}]},
            "activations: moving_average: unknown field 'constnat'. Did you mean 'constant'?",
        ),
        (
            {"passes": [{"calibrate": {"activations": {"lp": {"p": "much"}}}}]},
            "activations: lp: field 'p' is 'much' but",
        ),
        ({"passes": [{"calibrate": {"activations": {"lp": {"p": 99}}}}]}, "activations: lp: p: 99.0 is not 0.5 to 16"),
        ({"passes": [{"calibrate": {"activations": {"lp": {}, "mse": {}}}}]}, "one calibrator is wanted"),
        ({"passes": [{"calibrate": {"activations": {}}}]}, "one calibrator is wanted"),
        ({"passes": [{"calibrate": {"activations": ["lp"]}}]}, "field 'activations' is ['lp']"),
        (
            {"passes": [{"calibrate": {"activations": {"percentile": {"percentile": 99}}, "percentile": 98}}]},
            "percentile: is given twice",
        ),
        ({"passes": [{"round_weights": {"bits": 9}}]}, "field 'bits' is 9"),
        (
            {"passes": [{"round_weights": {"bits": {"default": "x"}}}]},
            "bits: 'default' is 'x', not a whole number from 2 to 8",
        ),
        (
            {"passes": [{"round_weights": {"bits": {"default": 4, "budget": 4}}}]},
            "'round_weights': bits: both 'default' and 'budget'",
        ),
        ({"passes": [{"plan": {}, "calibrate": {}}]}, "are several"),
        ({"passes": [{"insert_qdq": {"bits": 8}}]}, "unknown field 'bits'"),
        ({"pases": []}, "unknown field 'pases'. Did you mean 'passes'?"),
        ({}, "'passes' is missing"),
        ({"passes": ["no_such_module:Mine"]}, "cannot be imported"),
        ({"passes": ["onnxq.passes:Mine"]}, "cannot be imported"),
        ({"passes": ["os:path"]}, "'os:path' is not a pass"),
        ({"passes": ["json:dumps"]}, "'json:dumps' is not a pass"),
        ({"passes": ["pathlib:Path"]}, "'pathlib:Path' is not a pass"),
        ({"passes": [":Mine"]}, "cannot be imported"),
    ],
)
def test_what_is_wrong_is_said(value: Mapping[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(value)
    assert said in str(caught.value) and str(caught.value).startswith("recipe: ")


def test_an_unknown_recipe_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'defualt'. Did you mean 'default'.* Or give a YAML file"):
        load_recipe("defualt")
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")


def test_options_of_a_pass_that_the_recipe_lacks_cannot_be_set() -> None:
    with pytest.raises(RecipeError, match="no pass 'round_weights', so bits cannot be set"):
        Recipe((FoldConstants(),)).changed(RoundWeights, bits=4)
    assert Recipe((Mine(), Mine(2))).changed(Mine, strength=3.0) == Recipe((Mine(3), Mine(3)))
