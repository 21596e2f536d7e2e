"""The files that the model, the card and the recipe of a command name, and why nothing is kept of it, if so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx.external_data_helper import _get_all_tensors

from onnxq.caching.inputs import is_script
from onnxq.cli.cards import card_of
from onnxq.errors import RecipeError
from onnxq.external_data import file_of
from onnxq.model import parse_model
from onnxq.models.card import Card
from onnxq.outside import is_outside
from onnxq.plugins import GROUPS, offered
from onnxq.recipe import SUFFIXES, Recipe
from onnxq.recipes.document import Document

Named = tuple[str, Path]
"""The option whose file names it, and the path."""


@dataclass(frozen=True)
class Further:
    files: tuple[Named, ...]
    declined: str | None = None


def further_files(model: str, recipe: str | None, applied: Recipe) -> Further:
    """``applied``: the recipe as it runs, with all that was asked for. Raises OnnxqError for what cannot be read."""
    card = card_of(model)
    path = card.model_path if card else Path(model)
    files: list[Named] = [("model", file) for file in _of_card(card)] if card else []
    files += [("model", file) for file in _outside(path)]
    if recipe is not None and Path(recipe).suffix in SUFFIXES:
        files += [("recipe", file) for file in _extended(Path(recipe), applied)]
    elif card is not None and recipe is None:
        files += [("model", file) for file in _of_card_recipe(card, applied)]
    else:
        files += [("model", file) for file in _passes_files(applied)]
    return Further(tuple(dict.fromkeys(files)), _declined(card, applied))


def _of_card(card: Card) -> Iterator[Path]:
    for path in (card.model_path, card.calibration_path, card.test_path, card.labels_path, card.recipe_path):
        if path is not None:
            yield path


def _outside(path: Path) -> Iterator[Path]:
    """The files of external data."""
    for tensor in _get_all_tensors(parse_model(path)):
        if is_outside(tensor):
            yield file_of(tensor, path)


def _extended(path: Path, applied: Recipe) -> Iterator[Path]:
    """The recipes that a recipe extends, and the files that its passes name."""
    yield from _chain(Document.read(path))
    yield from _passes_files(applied)


def _of_card_recipe(card: Card, applied: Recipe) -> Iterator[Path]:
    if card.recipe_path is not None:
        yield from _chain(Document.read(card.recipe_path))
    elif isinstance(card.recipe, dict):
        yield from _chain(Document(card.recipe, card.name))
    yield from _passes_files(applied)


def _chain(document: Document) -> Iterator[Path]:
    """A circle was found when the recipe was read."""
    name = document.value.get("extends")
    if isinstance(name, str) and name.endswith(SUFFIXES):
        path = document.folder / name
        yield path
        yield from _chain(Document.read(path))


def _passes_files(applied: Recipe) -> Iterator[Path]:
    for step in applied.passes:
        for field in getattr(step, "paths", ()):
            if isinstance(path := getattr(step, field, None), str | Path) and path:
                yield Path(path)


def _declined(card: Card | None, applied: Recipe) -> str | None:
    """Code of others may read anything, and may change with no word of it."""
    if card is not None and card.metric is not None and is_script(card.metric.name):
        return f"the metric of the card is code of its own, {card.metric.name}."
    try:
        foreign = {name for kind in GROUPS for name in offered(kind)}
    except RecipeError:
        foreign = set()
    for name in _names(applied.written()):
        module, _, attribute = name.partition(":")
        if name in foreign or (attribute.isidentifier() and module.replace(".", "").isidentifier()):
            return f"the recipe runs code that is not onnxq's, {name}."
    return None


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for pair in value.items():
            for one in pair:
                yield from _names(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names(one)
    elif isinstance(value, str):
        yield value
