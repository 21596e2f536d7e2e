"""The schema that ships says what the passes take, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from onnxq.calibrators import CALIBRATORS
from onnxq.errors import RecipeError
from onnxq.passes import PASSES
from onnxq.recipe import RECIPES, load_recipe
from onnxq.recipes.schema import FILE, schema, schema_text
from onnxq.recipes.text import recipe_text
from onnxq.solving import SOLVERS

VALIDATOR = Draft7Validator(schema())


def test_the_file_that_ships_is_what_the_passes_say() -> None:
    assert FILE.read_text() == schema_text(), "write it again: onnxq recipe schema -o onnxq/recipes/recipe.schema.json"
    Draft7Validator.check_schema(json.loads(FILE.read_text()))


@pytest.mark.parametrize("name", RECIPES)
def test_built_in_recipes_validate(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(recipe_text(RECIPES[name])))


@pytest.mark.parametrize(
    "value",
    [
        {"passes": ["plan", {"calibrate": None}, {"round_weights": {}}]},
        {"backend": ["openvino", "tensorrt"], "passes": [{"calibrate": {"activations": {"lp": {"p": 3}}}}]},
        {"passes": [{"round_weights": {"solver": {"coordinate_descent": {"start": {"gptq": {"scales": 31}}}}}}]},
        {"passes": [{"round_weights": {"solver": {"auto": {"of": ["nearest", {"gptq": {"scales": 1}}]}}}}]},
        {"passes": [{"round_weights": {"bits": {"default": 4, "first": 8, "/head/": 8}}}, "plan"]},
        {"passes": [{"plan": {"activation_bits": 16, "exclude": ["/head/"], "activations": True}}]},
        {"extends": "default", "drop": ["correct_bias"], "passes": ["insert_qdq", {"cast_float": {"to": "fp16"}}]},
    ],
)
def test_what_loads_validates(value: Mapping[str, Any]) -> None:
    VALIDATOR.validate(value)
    assert load_recipe(value).passes


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"pases": []},
        {"passes": ["fold_constant"]},
        {"passes": [{"plan": {"exlude": []}}]},
        {"passes": [{"plan": {"exclude": "head"}}]},
        {"passes": [{"plan": {}, "calibrate": {}}]},
        {"passes": [{"calibrate": {"activations": "msee"}}]},
        {"passes": [{"calibrate": {"activations": {"lp": {"q": 3}}}}]},
        {"passes": [{"calibrate": {"activations": {"lp": {}, "mse": {}}}}]},
        {"passes": [{"round_weights": {"bits": 9}}]},
        {"passes": [{"round_weights": {"solver": {"coordinate_descent": {"start": "gqtp"}}}}]},
        {"passes": [{"insert_qdq": {"bits": 8}}]},
        {"passes": ["plan"], "drop": ["correct_bias"]},
        {"extends": 3},
    ],
)
def test_what_is_refused_does_not_validate(value: Mapping[str, Any]) -> None:
    assert not VALIDATOR.is_valid(value)
    with pytest.raises(RecipeError):
        load_recipe(value)


def test_every_option_is_in_it() -> None:
    found = schema()["definitions"]
    for name, kinds in (("pass", PASSES), ("calibrator", CALIBRATORS), ("solver", SOLVERS)):
        by_name = found[name]["anyOf"][1]["properties"]
        assert list(by_name) == list(kinds)
        for one, kind in kinds.items():
            options: list[str] = [field.name for field in fields(kind)] if is_dataclass(kind) else []
            assert list(by_name[one]["properties"]) == options
            assert by_name[one]["description"]


def test_what_packages_offer_is_completed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxq.plugins.offered", lambda kind: ("mine",) if kind == "pass" else ())
    with_it = Draft7Validator(schema())
    assert with_it.is_valid({"passes": ["mine", {"mine": {"strength": 2}}]})
    assert not VALIDATOR.is_valid({"passes": ["mine"]})
