"""A recipe that extends another one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onnxq.errors import RecipeError
from onnxq.passes import CastFloat, FoldConstants, InsertQdq, PlanIntegers, RoundWeights
from onnxq.recipe import RECIPES, load_recipe

DEFAULT = [step.name for step in RECIPES["default"].passes]


def names(**value: object) -> list[str]:
    return [step.name for step in load_recipe({"extends": "default", **value}).passes]


def test_fields_that_are_given_replace_those_of_the_pass_of_that_name() -> None:
    recipe = load_recipe(
        {"extends": "default", "passes": [{"plan": {"exclude": ["/head/"]}}, {"round_weights": {"bits": 4}}]}
    )
    default = RECIPES["default"]
    assert recipe == default.changed(PlanIntegers, exclude=("/head/",)).changed(RoundWeights, bits=4)
    assert load_recipe({"extends": "default"}) == default


def test_a_field_is_replaced_as_a_whole_and_null_takes_it_back(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "extends: default\npasses: [plan: {exclude: [a, b], activation_bits: {default: 6, first: 8}}]"
    )
    (tmp_path / "mine.yaml").write_text(
        "extends: base.yaml\npasses: [plan: {exclude: [c], activation_bits: {last: 8}}]"
    )
    (tmp_path / "plain.yaml").write_text("extends: base.yaml\npasses: [plan: {activation_bits: null}]")
    found = {name: load_recipe(tmp_path / f"{name}.yaml").passes[9] for name in ("mine", "plain")}
    assert found["mine"] == PlanIntegers(("c",), activation_bits={"last": 8})
    assert found["plain"] == PlanIntegers(("a", "b"))


def test_new_passes_stand_beside_those_that_are_listed_with_them() -> None:
    at = DEFAULT.index("equalize_channels")
    behind = names(passes=["equalize_channels", "absorb_high_bias"])
    before = names(passes=["absorb_high_bias", "balance_activations"])
    assert behind == before == [*DEFAULT[: at + 1], "absorb_high_bias", *DEFAULT[at + 1 :]]
    assert names(passes=["insert_qdq", {"cast_float": {"to": "bf16"}}]) == [*DEFAULT, "cast_float"]
    assert names(passes=["absorb_high_bias", "fold_constants"]) == ["absorb_high_bias", *DEFAULT]


def test_what_is_dropped_may_come_back_elsewhere() -> None:
    assert names(drop=["correct_bias", "fuse_pad"]) == [n for n in DEFAULT if n not in ("correct_bias", "fuse_pad")]
    moved = names(drop=["merge_slices"], passes=["fold_constants", "merge_slices"])
    assert moved[:3] == ["fold_constants", "merge_slices", "drop_idle"]


def test_files_extend_files_by_paths_from_their_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "team/base.yaml").write_text(
        "extends: default\nbackend: openvino\npasses: [round_weights: {bits: 4}]\n"
    )
    path = tmp_path / "mine/small.yaml"
    path.write_text(
        "extends: ../team/base.yaml\npasses:\n- round_weights: {per_channel: false}\n- insert_qdq\n- cast_float\n"
    )
    recipe = load_recipe(path)
    assert recipe.backends == ("openvino",)
    assert [step for step in recipe.passes if isinstance(step, RoundWeights)] == [
        RoundWeights(4, per_channel=False, solver="coordinate_descent")
    ]
    assert recipe.passes[-2:] == (InsertQdq(), CastFloat())
    monkeypatch.chdir(tmp_path / "team")
    assert load_recipe("../mine/small.yaml") == recipe
    path.write_text("extends: ../team/base.yaml\nbackend: [onnxruntime]\n")
    assert load_recipe(path).backends == ("onnxruntime",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: defualt", "mine.yaml, line 1: extends: unknown recipe 'defualt'. Did you mean 'default'?"),
        ("extends: none.yaml", "mine.yaml, line 1: extends: "),
        ("extends: [default]", "field 'extends' is ['default'], not a recipe's name"),
        ("extends: mine.yaml", "mine.yaml extends mine.yaml: a circle"),
        ("extends: other.yaml", "other.yaml, line 2: mine.yaml extends other.yaml extends mine.yaml: a circle"),
        ("extends: default\npasses: [cast_float]", "its place is not known. List the pass before it"),
        (
            "extends: default\npasses:\n- plan\n- fold_constants",
            "mine.yaml, line 4: pass 'fold_constants': it is listed behind 'plan'",
        ),
        ("extends: default\npasses:\n- plan\n- plan", "line 4: pass 'plan': it is listed behind 'plan'"),
        (
            "extends: default\ndrop:\n- cast_float",
            "line 3: drop: unknown pass of the recipe extended 'cast_float'.",
        ),
        ("extends: default\ndrop: plan", "line 2: field 'drop' is 'plan', not a list"),
        ("drop: [plan]\npasses: []", "line 1: 'drop' takes passes from a recipe that is extended"),
        (
            "extends: default\npasses:\n- round_weights:\n    per_channel: true\n    bits: 9",
            "mine.yaml, line 5: pass 'round_weights': field 'bits' is 9",
        ),
        ("extends: broken.yaml", "broken.yaml, line 3: pass 'plan': unknown field 'exlude'. Did you mean 'exclude'?"),
    ],
)
def test_what_cannot_be_extended_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("# a comment\nextends: mine.yaml")
    (tmp_path / "broken.yaml").write_text("passes:\n- plan:\n    exlude: [a]\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "mine.yaml")
    assert said in str(caught.value)


def test_only_so_many_extend_one_another(tmp_path: Path) -> None:
    def write(count: int) -> Path:
        for number in range(count):
            (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml")
        (tmp_path / f"{count}.yaml").write_text("passes: [fold_constants]")
        return tmp_path / "0.yaml"

    assert load_recipe(write(8)).passes == (FoldConstants(),)
    with pytest.raises(RecipeError, match=r"8.yaml, line 1: 9 recipes extend one another; the limit is 8"):
        load_recipe(write(9))


def test_variables_and_home_folders_are_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("extends: default")
    for name in ("$HOME/base.yaml", "~/base.yaml"):
        (tmp_path / "mine.yaml").write_text(f"extends: {name}")
        with pytest.raises(RecipeError, match="no such file"):
            load_recipe(tmp_path / "mine.yaml")


def test_a_mapping_extends_too() -> None:
    value: Mapping[str, Any] = {"extends": "default", "backend": "tensorrt"}
    assert load_recipe(value).backends == ("tensorrt",)
