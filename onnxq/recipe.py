"""The YAML that writes a pipeline down: a list of passes with their options, and optionally the backends.

backend: openvino
passes:
  - fold_constants
  - plan: {exclude: ["/head/.*"]}
  - calibrate: {activations: percentile}

Or what it changes of another one, a built-in one or a file (see ``onnxq.recipes.extending``):

extends: default
drop: [correct_bias]
passes:
  - round_weights: {bits: 4}
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxq.backends import backend_of
from onnxq.errors import RecipeError, unknown
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
from onnxq.recipes.document import Document
from onnxq.recipes.entry import FIELDS, entries, misplaced, options_of, written_name
from onnxq.recipes.extending import extended
from onnxq.recipes.order import check_passes
from onnxq.workspace import Pass

SUFFIXES = (".yaml", ".yml")
DEPTH = 8  # of recipes that extend one another


@dataclass(frozen=True)
class Recipe:
    """Passes in the order they run. ``backends`` are those the recipe names, if it does."""

    passes: tuple[Pass, ...]
    backends: tuple[str, ...] = ()

    def changed(self, kind: type[Pass], **options: object) -> "Recipe":
        """The recipe with options of every pass of one kind replaced. Raises RecipeError if it has none."""
        if not any(isinstance(step, kind) for step in self.passes):
            raise RecipeError(f"the recipe has no pass {kind.name!r}, so {', '.join(options)} cannot be set.")
        passes = tuple(
            # Every pass is a frozen dataclass, which the Protocol cannot say.
            dataclasses.replace(step, **options) if isinstance(step, kind) else step  # type: ignore[type-var]
            for step in self.passes
        )
        return dataclasses.replace(self, passes=passes)

    def written(self) -> list[dict[str, dict[str, object]]]:
        """The recipe as YAML would hold it, every option spelled out."""
        return [{written_name(step): options_of(step)} for step in self.passes]


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(
        (
            FoldConstants(),
            DropIdle(),
            MergeSlices(),
            FusePad(),
            FoldBatchNorm(),
            FoldScale(),
            FoldGemmFactors(),
            EqualizeChannels(per_channel=True),
            BalanceActivations(solved=True),
            PlanIntegers(),
            Calibrate(),
            RoundWeights(solver="coordinate_descent"),
            CorrectBias(),
            InsertQdq(),
        ),
    ),
}


def load_recipe(source: str | Path | Mapping[str, object] | Recipe) -> Recipe:
    """A recipe by built-in name, from a YAML file, or from a mapping of the same form. Raises RecipeError."""
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Mapping):
        return _recipe(Document(source, "recipe"), ())
    if str(source) in RECIPES:
        return RECIPES[str(source)]
    path = Path(source)
    if path.suffix not in SUFFIXES and not path.exists():
        raise RecipeError(f"{unknown('recipe', str(source), RECIPES)} Or give a YAML file.")
    return _recipe(Document.read(path), (path,))


def check_recipe(source: str | Path) -> Recipe:
    """The recipe, if it can run: also the order of its passes and the names of its backends are looked at. Raises
    RecipeError."""
    recipe = load_recipe(source)
    try:
        check_passes(recipe.passes)
        for name in recipe.backends:
            backend_of(name)
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from error
    return recipe


def _recipe(document: Document, files: tuple[Path, ...]) -> Recipe:
    """``files``: those that led to this one, itself the last."""
    for name in document.value:
        if name not in FIELDS:
            raise RecipeError(f"{document.at(name)}: {misplaced(name, FIELDS)}")
    backends = _backends(document)
    if "extends" in document.value:
        base = _base(document, files)
        return Recipe(extended(base.passes, document), base.backends if backends is None else backends)
    if "drop" in document.value:
        raise RecipeError(f"{document.at('drop')}: 'drop' takes passes from a recipe that is extended. Add 'extends'.")
    return Recipe(tuple(entry.made() for entry in entries(document)), backends or ())


def _base(document: Document, files: tuple[Path, ...]) -> Recipe:
    """The recipe that a document extends: a built-in one, or a file, by a path from the document's folder."""
    name, where = document.value["extends"], document.at("extends")
    if not isinstance(name, str):
        raise RecipeError(f"{where}: field 'extends' is {name!r}, not a recipe's name or a YAML file.")
    if name in RECIPES:
        return RECIPES[name]
    path = document.folder / name
    if path.suffix not in SUFFIXES:
        raise RecipeError(f"{where}: extends: {unknown('recipe', name, RECIPES)} Or give a YAML file.")
    if not path.is_file():
        raise RecipeError(f"{where}: extends: {path}: no such file. A path starts from the folder of the recipe.")
    if path.resolve() in [file.resolve() for file in files]:
        chain = " extends ".join(file.name for file in (*files, path))
        raise RecipeError(f"{where}: {chain}: a circle. Take one 'extends' out.")
    if len(files) > DEPTH:
        raise RecipeError(f"{where}: {len(files)} recipes extend one another; the limit is {DEPTH}. Join some of them.")
    return _recipe(Document.read(path), (*files, path))


def _backends(document: Document) -> tuple[str, ...] | None:
    """None where none is named."""
    value = document.value.get("backend")
    names = [value] if isinstance(value, str) else value
    if names is None:
        return None
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{document.at('backend')}: field 'backend' is {value!r}, not a name or a list of names.")
    return tuple(names)
