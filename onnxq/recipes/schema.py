"""The JSON schema of recipes, made of the fields of the passes, the calibrators and the solvers: an editor completes
recipes by it. ``recipe.schema.json`` beside this file is the same, for what is onnxq's own.

It says which fields there are and of what types; what values mean together, only ``onnxq recipe check`` knows.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from onnxq import plugins
from onnxq.calibrators import CALIBRATORS
from onnxq.passes import PASSES
from onnxq.solving import SOLVERS
from onnxq.solving.widths import KEYS, LEAST, MOST

FILE = Path(__file__).with_name("recipe.schema.json")
OWN = {"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "A class of your own, module:Class."}
OPEN = {"type": ["object", "null"]}
Schema = dict[str, Any]


def schema() -> Schema:
    """As a value that JSON can hold, with the names that installed packages offer."""
    names = {"type": "string", "enum": [*PASSES, *plugins.offered("pass")]}
    listed = {"type": "array", "items": {"$ref": "#/definitions/pass"}}
    drop = {"type": "array", "items": {"anyOf": [names, OWN]}}
    backend = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    fields = {
        "extends": _said("A built-in recipe, or a YAML file by its path from this one's folder.", {"type": "string"}),
        "backend": _said("Engines or targets that graphs are made for: onnxruntime, openvino, ...", backend),
        "drop": _said("Passes of the recipe extended that are left out.", drop),
        "passes": _said("In the order they run; with `extends` those that differ, and new ones.", listed),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "onnxq recipe",
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        "anyOf": [{"required": ["passes"]}, {"required": ["extends"]}],
        "dependencies": {"drop": ["extends"]},
        "definitions": {
            "pass": _choice(PASSES, plugins.offered("pass")),
            "calibrator": _choice(CALIBRATORS, plugins.offered("calibrator")),
            "solver": _choice(SOLVERS, plugins.offered("solver")),
            "bits_by_layer": _bits(),
        },
    }


def schema_text() -> str:
    return json.dumps(schema(), indent=1) + "\n"


def _said(description: str, of: Mapping[str, Any]) -> Schema:
    return {"description": description, **of}


def _choice(kinds: Mapping[str, type[Any]], offered: Sequence[str]) -> Schema:
    """One of several classes, by name or as ``{name: options}``; of those ``offered`` by others names are known."""
    by_name = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {name: _options(kind) for name, kind in kinds.items()} | dict.fromkeys(offered, OPEN),
        "patternProperties": {OWN["pattern"]: OPEN},
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "string", "enum": [*kinds, *offered]}, by_name, OWN]}


def _options(kind: type[Any]) -> Schema:
    """The fields of a dataclass, all of which may be left out; its docstring tells what they are."""
    found = _plain(TypeAdapter(kind).json_schema()) if hasattr(kind, "__dataclass_fields__") else {}
    return {
        "description": " ".join((kind.__doc__ or "").split()),
        "type": ["object", "null"],
        "properties": found.get("properties", {}),
        "additionalProperties": False,
    }


def _plain(value: Any) -> Any:
    """Without pydantic's titles; what recipes have in common is referred to."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "onnxq" in value:
        rest = {key: _plain(one) for key, one in value.items() if key not in ("onnxq", "title")}
        return {"allOf": [{"$ref": f"#/definitions/{value['onnxq']}"}], **rest}
    return {key: _plain(one) for key, one in value.items() if not (key == "title" and isinstance(one, str))}


def _bits() -> Schema:
    whole = {"type": "integer", "enum": [*range(LEAST, MOST + 1), 16]}
    known = dict.fromkeys(KEYS, whole) | {
        "budget": {"type": "number", "minimum": LEAST, "maximum": MOST},
        "widths": {"type": "array", "items": whole, "minItems": 1},
    }
    described = "By `default`, `first`, `last`, regular expressions on names of layers, or a `budget`."
    return {"description": described, "type": "object", "properties": known, "additionalProperties": whole}
