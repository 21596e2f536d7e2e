"""A card is read with its paths, or refused in one sentence that names the field."""

from pathlib import Path

import pytest
import yaml

from onnxq.errors import RecipeError
from onnxq.models.card import load_card, shipped_cards
from onnxq.preprocess import Preprocessing
from onnxq.recipe import load_recipe

CARD = """
name: tiny
summary: a card for tests
model: model.onnx
licence: Apache-2.0
made: by hand
inputs: {image: {shape: [N, 1, 16, 16], dtype: float32}}
preprocessing: {input: image, scale: 0.5, color: GREY}
calibration: ../data.npz
test: test.npz
metric: {name: box_ap, labels: instances.json, decoder: yolox, strides: [8, 16]}
accuracy: 98.4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("model.onnx", "../data.npz", "test.npz", "instances.json"):
        (folder / name).touch()
    (folder / "card.yaml").write_text(CARD)
    return folder


def test_a_card_and_its_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for given in (folder, folder / "card.yaml", "tiny", "tiny/card.yaml"):
        card = load_card(given)
        assert card.folder == folder.resolve()
        assert card.model_path == folder / "model.onnx"
        assert card.calibration_path == folder.parent / "data.npz"
        assert card.test_path == folder / "test.npz"
        assert card.labels_path == folder / "instances.json"
        assert card.preprocessing == Preprocessing(input="image", scale=0.5, color="GREY")
        assert card.inputs["image"].shape == ("N", 1, 16, 16)
        assert (card.recipe, card.recipe_path) == ("default", None)


def test_recipes(folder: Path) -> None:
    (folder / "r.yaml").touch()
    (folder / "card.yaml").write_text(CARD + "recipe: r.yaml\n")
    assert load_card(folder).recipe_path == folder / "r.yaml"
    (folder / "card.yaml").write_text(CARD + "recipe: {passes: [fold_constants]}\n")
    card = load_card(folder)
    assert (card.recipe, card.recipe_path) == ({"passes": ["fold_constants"]}, None)
    (folder / "r.yaml").write_text("passes: [fold_constants]")
    (folder / "card.yaml").write_text(CARD + "recipe: {extends: r.yaml, passes: [fold_constants, plan]}\n")
    assert [step.name for step in load_recipe(load_card(folder).recipe).passes] == ["fold_constants", "plan"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"modell": 1}, "unknown field 'modell'. Did you mean 'model'?"),
        ({"summary": None}, "field 'summary' is None but input should be a valid string."),
        ({"metric": {"nam": "top1"}}, "field 'metric.name' is missing."),
        ({"preprocessing": {"meen": [1]}}, "in 'preprocessing', unknown field 'meen'. Did you mean 'mean'?"),
        ({"inputs": {"image": {"shape": [1]}}}, "field 'inputs.image.dtype' is missing."),
        ({"test": "none.npz"}, "field 'test': no such file: "),
        ({"recipe": "none.yaml"}, "field 'recipe': no such file: "),
    ],
)
def test_wrong_cards(folder: Path, change: dict[str, object], said: str) -> None:
    (folder / "card.yaml").write_text(yaml.safe_dump(yaml.safe_load(CARD) | change))
    with pytest.raises(RecipeError) as caught:
        load_card(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert said in str(caught.value)


def test_a_missing_field(folder: Path) -> None:
    (folder / "card.yaml").write_text(CARD.replace("name: tiny\n", ""))
    with pytest.raises(RecipeError, match="field 'name' is missing"):
        load_card(folder)


def test_cards_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown card 'nosuch'\..* Or give a card\.yaml"):
        load_card("nosuch")
    with pytest.raises(RecipeError, match="no such file"):
        load_card(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read: File name too long"):
        load_card("x" * 5000)


def test_shipped_cards_have_names() -> None:
    assert list(shipped_cards()) == sorted(shipped_cards())
