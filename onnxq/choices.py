"""One class of several, with options, as recipes write it: by name, or as ``{name: options}``."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import WithJsonSchema

from onnxq.errors import RecipeError
from onnxq.validation import validated

Choice = str | Mapping[str, Mapping[str, object] | None]
CalibratorChoice = Annotated[Choice, WithJsonSchema({"onnxq": "calibrator"})]
SolverChoice = Annotated[Choice, WithJsonSchema({"onnxq": "solver"})]
"""The same, which the schema of recipes (``onnxq.recipes.schema``) completes by name."""
T = TypeVar("T")


def named(choice: Choice, what: str) -> tuple[str, Mapping[str, object]]:
    """The name, of ``what`` is to be chosen, and the options. Raises RecipeError where several are named, or none."""
    if isinstance(choice, str):
        return choice, {}
    if len(choice) != 1:
        said = ", ".join(map(repr, choice)) or "none"
        raise RecipeError(f"one {what} is wanted, by name or as `name: {{options}}`; not {said}")
    name, options = next(iter(choice.items()))
    return name, options or {}


def made(kind: type[T], options: Mapping[str, object], name: str) -> T:
    """An instance with these options, which are fields of a dataclass. Raises RecipeError for one it does not have."""
    if options and not dataclasses.is_dataclass(kind):
        given = ", ".join(map(repr, options))
        raise RecipeError(f"{name}: it is not a dataclass, so it has no options, and {given} cannot be set.")
    try:
        return validated(kind, options, name) if dataclasses.is_dataclass(kind) else kind()
    except RecipeError as error:  # one that the class raises itself knows not what it is called
        raise RecipeError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    except Exception as error:  # the user's own code, which may raise anything
        raise RecipeError(f"{name}: cannot be made: {type(error).__name__}: {error}.") from error
