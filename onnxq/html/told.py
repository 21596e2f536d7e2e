"""The facts as the page needs them, checked: what JSON holds may have come from anywhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from onnxq.build import Built
from onnxq.errors import DataError
from onnxq.facts import FORMAT
from onnxq.files import read_text
from onnxq.ledger import Entry
from onnxq.portrait import SeenValues
from onnxq.result import Judged
from onnxq.solving.solved_layer import SolvedLayer
from onnxq.validation import sentence
from onnxq.variants import Ablation

LIMIT = 64 << 20  # bytes; of a thousand layers and four backends it is a tenth
WAY_OUT = "Give what `onnxq quantize --json facts.json` wrote."


@dataclass(frozen=True)
class ToldLayer:
    """A linear layer, and which tensors it reads."""

    node: str
    op_type: str
    reads: tuple[str, ...] = ()
    weight: str | None = None
    why_float: str | None = None


@dataclass(frozen=True)
class ToldActivation:
    """A tensor's grid, from ``low`` to ``high``, and the values that were seen of it."""

    grid: str
    low: float
    high: float
    takes_grid_of: str = ""
    seen: SeenValues | None = None


@dataclass(frozen=True)
class ToldWeight:
    """A weight's grid and its error."""

    grid: str
    bits: int
    sqnr_db: float | None = None
    solved: SolvedLayer | None = None


@dataclass(frozen=True)
class ToldBackend:
    """Of one backend."""

    title: str
    size_before: int
    size_after: int
    ledger: tuple[Entry, ...]
    files: tuple[str, ...] = ()
    problem: str | None = None
    simulated: bool = False
    engine: Built | None = None
    accuracy: Judged | None = None
    layers: tuple[ToldLayer, ...] = ()
    activations: Mapping[str, ToldActivation] = field(default_factory=dict)
    weights: Mapping[str, ToldWeight] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """All of it."""

    model: str
    data: str
    backends: Mapping[str, ToldBackend]
    task: str = "calibrated on"
    smoke_test: bool = False
    recipe: tuple[Mapping[str, object], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    ablation: Ablation | None = None


def told(facts: object, where: str) -> Told:
    """The facts of ``onnxq.facts``; ``where`` names them in errors. Raises DataError for anything else."""
    if not isinstance(facts, dict) or "backends" not in facts or "versions" not in facts:
        raise DataError(f"{where}: these are no facts of onnxq. {WAY_OUT}")
    if facts.get("format") != FORMAT:
        said = facts.get("format")
        made = f"of the format {said!r}" if said else "of an earlier onnxq"
        raise DataError(f"{where}: the facts are {made}; {FORMAT!r} is read. Quantize again with --json.")
    try:
        return TypeAdapter(Told).validate_python(facts)
    except ValidationError as error:
        raise DataError(f"{sentence(error, where, Told)} {WAY_OUT}") from error


def read_facts(path: Path) -> Told:
    """What ``--json`` wrote. Raises DataError."""
    text = read_text(
        path,
        LIMIT,
        DataError,
        what="facts",
        gone=f"no such file. {WAY_OUT}",
        otherwise=f"is not UTF-8 text. {WAY_OUT}",
    )
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}. {WAY_OUT}") from error
    return told(facts, str(path))
