"""A model card: a model, data to calibrate and to test it with, its metric, its recipe, and how it was made.

A card is a ``card.yaml``. Paths in it start from its own folder. Cards that ship with onnxq are folders
beside this file, and go by the names of these.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PrivateAttr

from onnxq.errors import RecipeError, unknown
from onnxq.inputs import Dim
from onnxq.preprocess import Preprocessing
from onnxq.validation import load_yaml, validated

FILE = "card.yaml"
SHIPPED = Path(__file__).resolve().parent


class InputCard(BaseModel):
    """One input of the model, for the reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[Dim, ...]
    dtype: str


class MetricCard(BaseModel):
    """The metric's name and its options; ``onnxq.metrics`` knows which name takes which."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    labels: str | None = None

    @property
    def options(self) -> dict[str, object]:
        """All that is said but the name."""
        return ({} if self.labels is None else {"labels": self.labels}) | (self.model_extra or {})


class Card(BaseModel):
    """What ``card.yaml`` says. ``accuracy`` is the FP32 model's metric on the test data, in percent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    model: str
    licence: str
    made: str
    inputs: dict[str, InputCard]
    calibration: str
    preprocessing: Preprocessing | None = None
    test: str | None = None
    metric: MetricCard | None = None
    accuracy: float | None = None
    recipe: str | dict[str, object] = "default"

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The absolute folder of the card."""
        return self._folder

    @property
    def model_path(self) -> Path:
        return self.path(self.model)

    @property
    def calibration_path(self) -> Path:
        return self.path(self.calibration)

    @property
    def test_path(self) -> Path | None:
        return None if self.test is None else self.path(self.test)

    @property
    def labels_path(self) -> Path | None:
        """The metric's file of true answers."""
        return None if self.metric is None or self.metric.labels is None else self.path(self.metric.labels)

    @property
    def recipe_path(self) -> Path | None:
        """The recipe's YAML file; None where ``recipe`` is a name or written out in the card."""
        held = isinstance(self.recipe, str) and self.recipe.endswith((".yaml", ".yml"))
        return self.path(str(self.recipe)) if held else None

    def path(self, relative: str) -> Path:
        """An absolute path from one that starts at the card's folder."""
        return (self._folder / relative).resolve()


def shipped_cards() -> tuple[str, ...]:
    """The names of the cards that ship with onnxq."""
    return tuple(sorted(card.parent.name for card in SHIPPED.glob(f"*/{FILE}")))


def load_card(path_or_name: str | Path) -> Card:
    """A card from a YAML file, a folder with a ``card.yaml``, or the name of a shipped card.

    Raises RecipeError that names the file and the field when the card is wrong or a file it names is missing.
    """
    try:
        file = _file(Path(path_or_name))
    except OSError as error:
        raise RecipeError(f"{path_or_name}: cannot be read: {error.strerror}.") from error
    card = validated(Card, load_yaml(file), str(path_or_name))
    card._folder = file.resolve().parent
    card = card.model_copy(update={"recipe": _recipe(card)})
    paths = {
        "model": card.model_path,
        "calibration": card.calibration_path,
        "test": card.test_path,
        "metric.labels": card.labels_path,
        "recipe": card.recipe_path,
    }
    for field, path in paths.items():
        if path is not None and not path.exists():
            raise RecipeError(f"{path_or_name}: field {field!r}: no such file: {path}. Mend the path, or make it.")
    return card


def _recipe(card: Card) -> str | dict[str, object]:
    """What the card says; a recipe that is written out in it extends a file by a path from the card's folder."""
    recipe = card.recipe
    base = recipe.get("extends") if isinstance(recipe, dict) else None
    if isinstance(recipe, str) or not isinstance(base, str) or not base.endswith((".yaml", ".yml")):
        return recipe
    return {**recipe, "extends": str(card.path(base))}


def _file(path: Path) -> Path:
    if path.suffix in (".yaml", ".yml"):
        return path
    if path.is_dir():
        return path / FILE
    if path.name == str(path) and (SHIPPED / path / FILE).is_file():
        return SHIPPED / path / FILE
    said = unknown("card", str(path), shipped_cards())
    raise RecipeError(f"{said} Or give a {FILE}, or the folder it is in.")
