"""Provenance in the ``metadata_props`` of a model, under keys that begin with ``onnxq.``.

A model may be anybody's: what is read is checked, and nothing in it is run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import onnx
from pydantic import TypeAdapter, ValidationError

from onnxq.errors import ModelError
from onnxq.model import parse_model
from onnxq.provenance.provenance import Provenance

PREFIX = "onnxq."
FORMAT = "1"
TEXTS = ("command", "backend", "recipe")
"""Fields that are texts; the others are JSON."""


def stamp(model: onnx.ModelProto, provenance: Provenance) -> None:
    """Write it into ``model``, in place of what an earlier run may have left there."""
    kept = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(PREFIX)}
    own = {f"{PREFIX}{name}": text for name, text in _texts(provenance).items()}
    del model.metadata_props[:]
    for key, value in (kept | own).items():
        model.metadata_props.add(key=key, value=value)


def read_provenance(path: str | Path) -> Provenance:
    """Of a file. Raises ModelError where it is no model, or tells nothing."""
    return provenance_of(parse_model(Path(path)), str(path))


def provenance_of(model: onnx.ModelProto, where: str = "the model") -> Provenance:
    """Raises ModelError where it tells nothing, or what onnxq cannot have written."""
    found = {
        entry.key.removeprefix(PREFIX): entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)
    }
    if "provenance" not in found:
        raise ModelError(
            f"{where}: tells nothing of where it comes from: onnxq did not write it, or another tool that wrote it "
            "since dropped its metadata_props. Quantize the FP32 model again: onnxq quantize."
        )
    if (version := found.pop("provenance")) != FORMAT:
        raise ModelError(f"{where}: tells where it comes from in format {version[:20]!r}; this onnxq reads {FORMAT}.")
    try:
        said = {name: text if name in TEXTS else json.loads(text) for name, text in found.items()}
        told = TypeAdapter(Provenance).validate_python(said)
        if told.backend not in told.backends:
            raise ValueError(told.backend)
        return told
    except (ValueError, ValidationError, RecursionError) as error:
        raise ModelError(f"{where}: what it tells of where it comes from is damaged. Quantize again.") from error


def _texts(provenance: Provenance) -> Mapping[str, str]:
    said = {name: value for name, value in asdict(provenance).items() if value is not None}
    return {
        "provenance": FORMAT,
        **{name: value if name in TEXTS else _json(value) for name, value in said.items()},
    }


def _json(value: object) -> str:
    """Without what is None, and always alike."""
    if isinstance(value, dict):
        value = {name: one for name, one in value.items() if one is not None}
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
