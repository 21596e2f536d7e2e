"""The YAML that writes a pipeline down: a list of passes with their options, and optionally the backends.

backend: openvino
passes:
  - fold_constants
  - plan: {exclude: ["/head/.*"]}
  - calibrate: {activations: percentile}
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from onnxq import plugins
from onnxq.errors import RecipeError, unknown
from onnxq.passes import (
    PASSES,
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
from onnxq.validation import load_yaml, validated
from onnxq.workspace import Pass


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
        return [{_written_name(step): _options(step)} for step in self.passes]


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
        return _parse(source, "recipe")
    if str(source) in RECIPES:
        return RECIPES[str(source)]
    path = Path(source)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        raise RecipeError(f"{unknown('recipe', str(source), RECIPES)} Or give a YAML file.")
    return _parse(load_yaml(path), str(path))


@dataclass(frozen=True)
class _Written:
    passes: list[str | dict[str, dict[str, Any] | None]]
    backend: str | list[str] | None = None


def _parse(value: Mapping[str, object], where: str) -> Recipe:
    written = validated(_Written, value, where)
    backends = [written.backend] if isinstance(written.backend, str) else written.backend or []
    return Recipe(tuple(_pass(entry, where) for entry in written.passes), tuple(backends))


def _pass(entry: str | dict[str, dict[str, Any] | None], where: str) -> Pass:
    if isinstance(entry, str):
        entry = {entry: None}
    if len(entry) != 1:
        raise RecipeError(f"{where}: a pass is a name or one `name: {{options}}`; {sorted(entry)} are several.")
    name, options = next(iter(entry.items()))
    kind = _kind(name, where)
    where = f"{where}: pass {name!r}"
    try:
        return validated(kind, options or {}, where)
    except RecipeError as error:  # one that the pass raises itself knows not where it is written
        raise RecipeError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from error


def _kind(name: str, where: str) -> type[Pass]:
    """A pass of ours by name, one that an installed package offers, or the user's own as ``module:Class``."""
    try:
        found = plugins.load("pass", name, PASSES, _checked) or plugins.imported("pass", name, _checked)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    if found is not None:
        return found
    if name in PASSES:
        return PASSES[name]
    names = (*PASSES, *plugins.offered("pass"))
    raise RecipeError(f"{where}: {unknown('pass', name, names)} A pass of your own is written module:Class.")


def _checked(name: str, found: object) -> type[Pass]:
    called = isinstance(found, type) and any("__call__" in vars(kind) for kind in found.__mro__)
    called = called and isinstance(getattr(found, "name", None), str)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and called):
        raise TypeError("it is not a pass: a frozen dataclass with a `name`, called on a workspace")
    if ":" not in name and getattr(found, "name", None) != name:
        raise ValueError(f"it calls itself {getattr(found, 'name', None)!r}")
    return cast(type[Pass], found)


def _written_name(step: Pass) -> str:
    kind = type(step)
    return step.name if PASSES.get(step.name) is kind else f"{kind.__module__}:{kind.__qualname__}"


def _options(step: Pass) -> dict[str, object]:
    fields = dataclasses.fields(step)  # type: ignore[arg-type]
    return {field.name: getattr(step, field.name) for field in fields}
