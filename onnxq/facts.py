"""Every fact of a result as plain values, for ``--json``: numbers, strings, lists and mappings only.

A number that is not finite is the string ``"inf"``, ``"-inf"`` or ``"nan"``, since JSON has none.
"""

import math
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from onnxq.backends.heavy import heavy_nodes
from onnxq.portrait import Portrait
from onnxq.result import BackendResult, Result
from onnxq.scheme import QParams, held

PACKAGES = [
    "onnxq",
    "onnx",
    "onnxruntime",
    "onnx-graphsurgeon",
    "numpy",
    "polygraphy",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
]


FORMAT = "onnxq facts 1"  # by which `onnxq report` knows them


def facts(result: Result, written: dict[str, Path] | None = None) -> dict[str, object]:
    """The whole result; ``written`` are the files it was saved to."""
    return {
        "format": FORMAT,
        "model": result.model,
        "data": result.data,
        "task": result.task,
        "smoke_test": result.smoke_test,
        "recipe": plain(result.recipe),
        "versions": versions(),
        "seconds": plain(result.seconds),
        "ablation": plain(result.ablation),
        "backends": {
            name: {
                "file": str(written[name]) if written else None,
                "files": [str(path) for path in entry.files(written[name])] if written else [],
                **backend_facts(entry),
            }
            for name, entry in result.backends.items()
        },
    }


def versions() -> dict[str, str]:
    """Of every installed package that decides the result."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def backend_facts(entry: BackendResult) -> dict[str, object]:
    """One backend: sizes in bytes, the engine, accuracy, every layer, grids of every tensor, and the ledger."""
    drawn = entry.portrait or Portrait()
    return {
        "title": entry.title,
        "size_before": entry.size_before,
        "size_after": entry.size_after,
        "problem": entry.problem,
        "simulated": entry.simulated,
        "engine": plain(entry.built),
        "accuracy": plain(entry.judged),
        "kept": plain(entry.kept),
        "layers": _layers(entry),
        "activations": {
            tensor: {
                "grid": str(params.scheme),
                **_numbers(params),
                "takes_grid_of": entry.plan.activations[tensor].grid if tensor in entry.plan.activations else tensor,
                "seen": plain(drawn.activations.get(tensor)),
            }
            for tensor, params in entry.activations.items()
        },
        "weights": {
            weight.tensor: {
                "grid": str(rounded.params.scheme),
                "bits": rounded.params.scheme.bits,
                "sqnr_db": plain(drawn.weights.get(weight.tensor)),
                "solved": plain(entry.solved.get(weight)),
            }
            for weight, rounded in entry.weights.items()
        },
        "ledger": plain(list(entry.ledger.entries)),
    }


def _layers(entry: BackendResult) -> list[dict[str, object]]:
    """Linear layers: the activations that each reads as integers, its weight, and why it is in float, if it is."""
    reads: dict[str, list[str]] = {}
    for activation in entry.plan.activations.values():
        for name in {name for name, _ in activation.wanted}:
            reads.setdefault(name, []).append(activation.tensor)
    weights = {name: weight.tensor for weight in entry.plan.weights for name, _ in weight.readers}
    return [
        {
            "node": heavy.name,
            "op_type": heavy.op_type,
            "reads": reads.get(heavy.name, []),
            "weight": weights.get(heavy.name),
            "why_float": entry.plan.floats.get(heavy.name),
        }
        for heavy in heavy_nodes(entry.model)
    ]


def _numbers(params: QParams) -> dict[str, object]:
    """With the least and the greatest real on the grid."""
    grid = held(params)
    return {
        "scale": plain(params.scale),
        "zero_point": plain(params.zero_point),
        "low": float(np.min(grid.low)),
        "high": float(np.max(grid.high)),
    }


def plain(value: object) -> object:
    """``value`` as what JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, str | int | bool) or value is None else str(value)
