"""Read the YAML a user wrote, and say in one sentence what is wrong: file, field, the nearest valid one."""

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from onnxq.errors import RecipeError, unknown
from onnxq.files import read_text

LIMIT = 1 << 20  # bytes; a recipe is a page, and YAML takes long to read
MISSPELT = ("extra_forbidden", "unexpected_keyword_argument")
MISSING = ("missing", "missing_argument")
T = TypeVar("T")


def load_yaml(path: Path) -> dict[str, object]:
    """The mapping a YAML file holds. Raises RecipeError when there is none."""
    return read_yaml(path)[0]


def read_yaml(path: Path) -> tuple[dict[str, object], yaml.Node]:
    """The same with its nodes, which know their lines."""
    text = read_text(
        path,
        LIMIT,
        RecipeError,
        what="YAML file",
        gone="no such file.",
        otherwise="is not UTF-8 text; a YAML file is wanted.",
    )
    return _parsed(text, str(path))


def parse_yaml(text: str, where: str) -> dict[str, object]:
    """The mapping a YAML text holds; ``where`` names it in errors. Raises RecipeError when there is none."""
    return _parsed(text, where)[0]


def _parsed(text: str, where: str) -> tuple[dict[str, object], yaml.Node]:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        _refuse_twice(root, where)
        value = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(f"{where}{line}: not valid YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{where}: not valid YAML: {' '.join(str(error).split())}.") from error
    if root is None or not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RecipeError(f"{where}: must be a mapping of fields, such as `name: value`.")
    return value, root


def _refuse_twice(root: yaml.Node | None, where: str) -> None:
    """Raises RecipeError for a field that is given twice, of which YAML would take the last without a word."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))  # an alias is a node again
        lines: dict[str, int] = {}
        for child in node.value:
            nodes += child if isinstance(child, tuple) else (child,)
            key = child[0] if isinstance(child, tuple) else None
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in lines:
                    first = lines[key.value]
                    raise RecipeError(f"{where}, line {line}: {key.value!r} is given twice, first on line {first}.")
                lines[key.value] = line


def validated(kind: type[T], value: Mapping[str, object], where: str) -> T:
    """``value`` as a ``kind`` (a pydantic model or a dataclass). Raises RecipeError with one sentence."""
    for name in value:
        if name not in _fields(kind):  # pydantic lets them pass in a dataclass
            raise RecipeError(f"{where}: {unknown('field', name, _fields(kind))}")
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise RecipeError(sentence(error, where, kind)) from error


def sentence(error: ValidationError, where: str, kind: type) -> str:
    """The first error in one sentence; ``where`` is the file, ``kind`` the model or dataclass wanted."""
    # A misspelt field is also a missing one; the spelling is what to mend.
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] not in MISSPELT)
    first = details[0]
    path, fields = _walk(kind, first["loc"])
    name = ".".join(path)
    if first["type"] in MISSPELT:
        inside = f"in {'.'.join(path[:-1])!r}, " if path[1:] else ""
        said = inside + unknown("field", path[-1], fields)
    elif first["type"] in MISSING:
        said = f"field {name!r} is missing."
    else:
        # Each member of a union reports on its own; together they say what the field takes.
        same = [detail for detail in details if _walk(kind, detail["loc"])[0] == path]
        wanted = " or ".join(dict.fromkeys(_wanted(detail) for detail in same))
        shown = repr(first["input"])
        given = f" is {shown} but" if len(shown) <= 60 else ":"
        said = f"field {name!r}{given} {wanted}." if name else f"{wanted}."
    more = len({_walk(kind, detail["loc"])[0] for detail in details}) - 1
    return f"{where}: {said}" + (f" {more} more to mend after that." if more else "")


def _wanted(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def _walk(kind: object, loc: tuple[int | str, ...]) -> tuple[tuple[str, ...], list[str]]:
    """The names of a location, without pydantic's tags for members of unions, and the fields valid there."""
    names: list[str] = []
    fields = _fields(kind)
    for step in loc:
        fields = _fields(kind)
        if fields:
            names.append(str(step))
            kind = fields.get(str(step))
        elif get_origin(kind) is dict:
            names.append(str(step))
            kind = get_args(kind)[1]
    return tuple(names), list(fields)


def _fields(kind: object) -> dict[str, object]:
    """Fields and their types of a model, a dataclass, or the member of a union that is one."""
    if get_origin(kind) in (Union, types.UnionType, Annotated):
        return next(filter(None, map(_fields, get_args(kind))), {})
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {}
