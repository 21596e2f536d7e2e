"""What a user asks for takes the place of what the recipe says."""

from typing import Any, Literal

import pytest

from onnxq.errors import RecipeError
from onnxq.options import Options
from onnxq.passes import (
    BalanceActivations,
    Calibrate,
    CastFloat,
    EqualizeChannels,
    FoldConstants,
    InsertQdq,
    PlanIntegers,
    RoundWeights,
)
from onnxq.recipe import RECIPES, Recipe, load_recipe

DEFAULT = RECIPES["default"]


def asked(**changes: Any) -> Options:
    return Options(**changes)


def applied(kind: type, **options: object) -> object:
    return next(step for step in asked(**options).applied(DEFAULT).passes if isinstance(step, kind))


def test_nothing_asked_is_the_recipe() -> None:
    assert Options().applied(DEFAULT) is DEFAULT


def test_every_option_reaches_its_pass() -> None:
    assert applied(Calibrate, calibrator="minmax") == Calibrate("minmax")
    assert applied(RoundWeights, per_tensor=True, weight_bits=4) == RoundWeights(4, False, "coordinate_descent")
    assert applied(RoundWeights, solver="gptq") == RoundWeights(solver="gptq")
    assert applied(PlanIntegers, exclude=("a",), keep_float=("Add",)) == PlanIntegers(("a",), ("Add",))


@pytest.mark.parametrize("recipe", [DEFAULT, Recipe((*DEFAULT.passes, CastFloat("bf16")))])
def test_the_type_of_what_stays_float_is_cast_to_at_the_end(recipe: Recipe) -> None:
    assert asked(float_type="fp16").applied(recipe).passes == (*DEFAULT.passes, CastFloat("fp16"))


def test_what_weights_will_be_like_is_told_to_the_passes_that_weigh_activations_against_them() -> None:
    found = asked(per_tensor=True, weight_bits=4).applied(DEFAULT).passes
    assert EqualizeChannels(per_channel=False) in found
    assert BalanceActivations(bits=4, per_channel=False, solved=True) in found
    assert len(found) == len(DEFAULT.passes)
    assert asked(per_tensor=True).applied(Recipe((RoundWeights(),))).passes == (RoundWeights(per_channel=False),)


def test_what_activations_will_be_like_is_told_too() -> None:
    assert applied(PlanIntegers, activation_bits=4) == PlanIntegers(activation_bits=4)
    found = asked(activation_bits={"default": 5, "first": 8}).applied(DEFAULT).passes
    assert BalanceActivations(activation_bits=5, solved=True) in found
    assert BalanceActivations(solved=True) in asked(activation_bits={"first": 8}).applied(DEFAULT).passes


@pytest.mark.parametrize(
    ("bits", "told"), [({"default": 4, "first": 8}, 4), ({"budget": 4.4}, 4), ({"first": 8}, None)]
)
def test_bits_by_layer_reach_the_recipe_and_what_most_have_the_others(
    bits: dict[str, float], told: Literal[4] | None
) -> None:
    found = asked(weight_bits=bits).applied(DEFAULT)
    assert RoundWeights(dict(bits), solver="coordinate_descent") in found.passes
    assert BalanceActivations(bits=told, solved=True) in found.passes
    assert load_recipe({"passes": found.written()}) == found


def test_exclusions_are_added_to_those_of_the_recipe() -> None:
    recipe = Recipe((PlanIntegers(("a",), ("Add",)),))
    assert Options(exclude=("b",)).applied(recipe).passes == (PlanIntegers(("a", "b"), ("Add",)),)


def test_a_calibrator_replaces_the_percentile_of_another() -> None:
    recipe = Recipe((Calibrate("percentile", 99.9),))
    assert Options(calibrator="mse").applied(recipe).passes == (Calibrate("mse"),)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "samples: 0 is less than 1 .--samples"),
        ({"batch": -1}, "batch: -1 is less than 1 .--batch"),
        ({"activation_bits": 9}, "activation_bits: 9 is not a whole number from 2 to 8, or 16 .--activation-bits"),
        ({"activation_bits": {"first": 1}}, "'first' is 1, not a whole"),
        ({"weight_bits": 9}, "weight_bits: 9 is not a whole number from 2 to 8 .--weight-bits"),
        ({"weight_bits": {"first": 1}}, "weight_bits: 'first' is 1, not a whole number from 2 to 8 .--weight-bits"),
        ({"weight_bits": {"budget": 1}}, "weight_bits: a budget of 1, and a layer may have 2 to 8 bits .--weight-bits"),
        ({"exclude": "/head/"}, "exclude: '/head/' is a string"),
        ({"keep_float": "Add"}, "keep_float: 'Add' is a string"),
        ({"exclude": ("(",)}, "not a regular expression"),
        ({"calibrator": "entropi"}, "unknown calibrator 'entropi'"),
        ({"float_type": "fp8"}, "--float: .*'fp32', 'fp16' or 'bf16'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        asked(**options).applied(DEFAULT)


@pytest.mark.parametrize("options", [{"calibrator": "mse"}, {"per_tensor": True}, {"exclude": ("a",)}])
def test_an_option_for_a_pass_the_recipe_lacks_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="has no pass"):
        asked(**options).applied(Recipe((FoldConstants(),)))


def test_weights_alone_have_4_bits_in_blocks_unless_it_is_said_otherwise() -> None:
    def written(**options: int) -> RoundWeights:
        recipe = Options(weights_only=True, **options).applied(load_recipe("default"))  # type: ignore[arg-type]
        assert not any(isinstance(step, EqualizeChannels | BalanceActivations) for step in recipe.passes)
        assert PlanIntegers(activations=False) in recipe.passes
        return next(step for step in recipe.passes if isinstance(step, RoundWeights))

    found = written()
    assert (found.bits, found.block_size) == (4, 32)
    found = written(weight_bits=8)
    assert (found.bits, found.block_size) == (8, None)
    found = written(weight_bits=3, block_size=128)
    assert (found.bits, found.block_size) == (3, 128)


def test_blocks_and_packing_are_checked() -> None:
    recipe = load_recipe("default")
    with pytest.raises(RecipeError, match=r"--block-size.*33"):
        Options(block_size=33).applied(recipe)
    with pytest.raises(RecipeError, match=r"--pack.*sometimes"):
        Options(pack="sometimes").applied(recipe)
    assert InsertQdq("never") in Options(pack="never").applied(recipe).passes


@pytest.mark.parametrize(("solver", "solved"), [("nearest", False), ("gptq", True)])
def test_whether_weights_will_be_solved_is_told_too(solver: str, solved: bool) -> None:
    assert BalanceActivations(solved=solved) in asked(solver=solver).applied(DEFAULT).passes
