"""Stages of a recipe: their order, and that what is kept for another recipe stays what it was."""

from dataclasses import replace

import onnx
import pytest

from onnxq.clock import Clock
from onnxq.errors import RecipeError
from onnxq.passes import PASSES
from onnxq.proof import Proof
from onnxq.recipe import RECIPES
from onnxq.stages import Beginning, Calibrated, calibrated, check_order, finish
from onnxq.testing import normal, workspace

DEFAULT = RECIPES["default"].passes


def beginning(model: onnx.ModelProto) -> Beginning:
    space = workspace(model, {"x": normal(8, 4)})
    return Beginning(space, (space.backend,), (space.backend,), Proof(space.source, space.samples))


def finished(ready: Calibrated) -> onnx.ModelProto:
    return finish(ready.spaces[0], ready.rest).model


def test_a_pass_too_early_is_refused(two_layers: onnx.ModelProto) -> None:
    space = workspace(two_layers)
    for step in ("calibrate", "round_weights", "insert_qdq"):
        with pytest.raises(RecipeError, match=f"nothing is planned when '{step}' runs"):
            check_order(space, PASSES[step]())


def test_copies_can_be_finished_again_and_again(two_layers: onnx.ModelProto) -> None:
    begun = beginning(two_layers)
    first = calibrated(begun.copy(), DEFAULT, Clock())
    assert first.done + first.rest == DEFAULT
    assert [step.name for step in first.rest] == ["calibrate", "round_weights", "correct_bias", "insert_qdq"]
    made = [finished(first.copy()), finished(first.copy()), finished(first)]
    made.append(finished(calibrated(begun.copy(), DEFAULT, Clock())))
    made.append(finished(calibrated(begun.alone()[0], DEFAULT, Clock())))
    assert all(model == made[0] for model in made)


def test_a_copy_keeps_what_was_chosen_for_the_backend(two_layers: onnx.ModelProto) -> None:
    ready = calibrated(beginning(two_layers), DEFAULT, Clock())
    finished(ready)
    (space,) = ready.spaces
    copy = space.copy()
    assert (copy.activations, copy.weights) == (space.activations, space.weights)
    begun = replace(space, beside=(space.backend,))
    assert begun.copy().backends == begun.backends
    copy.weights.clear()
    copy.activations.clear()
    assert space.weights and space.activations
