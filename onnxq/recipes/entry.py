"""One pass as a recipe writes it: by name, or as ``name: {options}``."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from onnxq import plugins
from onnxq.errors import RecipeError, unknown
from onnxq.passes import PASSES
from onnxq.recipes.document import Document
from onnxq.validation import validated
from onnxq.workspace import Pass

FIELDS = ("extends", "backend", "drop", "passes")
"""Of a recipe itself."""


@dataclass(frozen=True)
class Entry:
    """The ``options`` of a pass at a place in a document."""

    document: Document
    index: int
    name: str
    kind: type[Pass]
    options: Mapping[str, object]

    def made(self, base: Pass | None = None) -> Pass:
        """The pass; what is not said is as in ``base``, if there is one. Raises RecipeError."""
        known = option_names(self.kind)
        for field in self.options:
            if field not in known:
                raise self.error(misplaced(field, known))
        options = {name: self._here(name, value) for name, value in self.options.items()}
        try:
            return validated(self.kind, {**(options_of(base) if base is not None else {}), **options}, "pass")
        except RecipeError as error:  # one that the pass raises itself knows not where it is written
            raise self.error(str(error).removeprefix("pass: ")) from error

    def _here(self, field: str, value: object) -> object:
        """A path starts from the folder of the recipe: it means one file, wherever the recipe is run."""
        is_path = field in getattr(self.kind, "paths", ()) and isinstance(value, str)
        return str(self.document.folder / str(value)) if is_path else value

    def error(self, said: str) -> RecipeError:
        """With the file, the line and the pass before what is ``said``."""
        where = self.document.at("passes", self.index, self.name, said=said)
        return RecipeError(f"{where}: pass {self.name!r}: {said}")


def entries(document: Document) -> list[Entry]:
    """Those listed in a document. Raises RecipeError."""
    listed = document.value.get("passes")
    if listed is None and "extends" in document.value:
        return []
    if "passes" not in document.value:
        raise RecipeError(f"{document.where}: field 'passes' is missing.")
    if not isinstance(listed, list | tuple):
        raise RecipeError(f"{document.at('passes')}: field 'passes' is {listed!r}, not a list of passes.")
    return [_entry(document, index, entry) for index, entry in enumerate(listed)]


def _entry(document: Document, index: int, entry: object) -> Entry:
    where = document.at("passes", index)
    if isinstance(entry, str):
        return Entry(document, index, entry, kind_of(entry, where), {})
    if not isinstance(entry, Mapping) or not entry or not all(isinstance(name, str) for name in entry):
        raise RecipeError(f"{where}: a pass is a name or one `name: {{options}}`, not {entry!r}.")
    name, options = next(iter(entry.items()))
    if len(entry) != 1:
        raise RecipeError(f"{where}: {_several(name, list(entry))}")
    kind = kind_of(name, where)
    if options is not None and not (isinstance(options, Mapping) and all(isinstance(key, str) for key in options)):
        raise RecipeError(f"{where}: pass {name!r}: its options are {options!r}, not a mapping `{{field: value}}`.")
    return Entry(document, index, name, kind, options or {})


def _several(name: str, names: list[str]) -> str:
    said = f"a pass is a name or one `name: {{options}}`; {sorted(names)} are several."
    inner = [field for field in names[1:] if name in PASSES and field in option_names(PASSES[name])]
    return f"{said} {inner[0]!r} is a field of {name!r}: indent it below." if inner else said


def kind_of(name: str, where: str) -> type[Pass]:
    """A pass of ours by name, one that an installed package offers, or the user's own as ``module:Class``. Raises
    RecipeError."""
    try:
        found = plugins.load("pass", name, PASSES, _checked) or plugins.imported("pass", name, _checked)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    if found is not None:
        return found
    if name in PASSES:
        return PASSES[name]
    said = unknown("pass", name, (*PASSES, *plugins.offered("pass")))
    raise RecipeError(f"{where}: {said} {_home(name) or 'A pass of your own is written module:Class.'}")


def _checked(name: str, found: object) -> type[Pass]:
    called = isinstance(found, type) and any("__call__" in vars(kind) for kind in found.__mro__)
    called = called and isinstance(getattr(found, "name", None), str)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and called):
        raise TypeError("it is not a pass: a frozen dataclass with a `name`, called on a workspace")
    if ":" not in name and getattr(found, "name", None) != name:
        raise ValueError(f"it calls itself {getattr(found, 'name', None)!r}")
    return cast(type[Pass], found)


def misplaced(field: str, valid: tuple[str, ...]) -> str:
    """A sentence for a field that is not one of the ``valid`` ones: where it belongs, or the nearest of these."""
    home = _home(field)
    if home and valid:
        return f"unknown field {field!r}. {home} Valid: {', '.join(sorted(valid))}."
    if not valid:
        return f"unknown field {field!r}. {home or 'The pass has no options.'}"
    return unknown("field", field, valid)


def _home(name: str) -> str:
    """Where a word belongs that is none of the fields here; empty for one that belongs nowhere."""
    if name in PASSES:
        return f"{name!r} is a pass: list it under 'passes'."
    if name in FIELDS:
        return f"{name!r} is a field of the recipe itself, beside 'passes'."
    homes = [repr(step) for step, kind in PASSES.items() if name in option_names(kind)]
    return f"{name!r} is a field of the pass {' or '.join(homes)}." if homes else ""


def option_names(kind: type[Pass]) -> tuple[str, ...]:
    # Every pass is a dataclass, which the Protocol cannot say.
    return tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]


def options_of(step: Pass) -> dict[str, object]:
    """Every option of a pass."""
    return {name: getattr(step, name) for name in option_names(type(step))}


def written_name(step: Pass) -> str:
    """What a recipe calls it."""
    kind = type(step)
    return step.name if PASSES.get(step.name) is kind else f"{kind.__module__}:{kind.__qualname__}"
