"""How alike the outputs of two sides are: Polygraphy's figures, the worst of all iterations, and its verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxq.comparing.figures import figures
from onnxq.comparing.sides import Side
from onnxq.errors import DataError


@dataclass(frozen=True)
class Gates:
    """What every output is to reach in every iteration: signal to error in dB, cosine."""

    min_sqnr: float | None = None
    min_cosine: float | None = None


@dataclass(frozen=True)
class Row:
    """One output: the least signal to error in dB and cosine of all iterations, the largest absolute difference, and
    the gates that it misses, in words. What is not float has neither of the first two."""

    output: str
    sqnr_db: float | None
    cosine: float | None
    max_error: float
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The outputs that both sides have, and what was left out, with the reason."""

    rows: tuple[Row, ...]
    left_out: tuple[str, ...]


def table(first: Side, second: Side, gates: Gates = Gates()) -> Table:
    """``second`` measured against ``first``.

    Raises DataError where they do not have as many iterations, or no output in common.
    """
    if len(first.iterations) != len(second.iterations):
        raise DataError(
            f"{first.name} has {len(first.iterations)} iterations and {second.name} has {len(second.iterations)}: "
            "they answered other inputs. Run both on the same."
        )
    names, left_out = _common(first, second)
    floats = [n for n in names if all(run[n].dtype.kind == "f" for side in (first, second) for run in side.iterations)]
    found = figures(_only(first, names), _only(second, names), "max_absdiff")
    sqnr = figures(_only(first, floats), _only(second, floats), "snr") if floats else {}
    cosine = figures(_only(first, floats), _only(second, floats), "cosine_similarity") if floats else {}
    rows = []
    for name in names:
        least_sqnr, least_cosine = (float(np.min(each[name])) if name in each else None for each in (sqnr, cosine))
        missed = _missed(least_sqnr, least_cosine, gates)
        rows.append(Row(name, least_sqnr, least_cosine, float(np.max(found[name])), missed))
    return Table(tuple(rows), left_out)


def _common(first: Side, second: Side) -> tuple[list[str], tuple[str, ...]]:
    """The outputs to compare, in the order of the first side; why others are not."""
    ours, theirs = first.iterations[0], second.iterations[0]
    names, said = [], [f"{name}: only {second.name} has it" for name in theirs if name not in ours]
    for name in ours:
        if name not in theirs:
            said.append(f"{name}: only {first.name} has it")
        elif any(a[name].shape != b[name].shape for a, b in zip(first.iterations, second.iterations, strict=True)):
            said.append(
                f"{name}: {list(ours[name].shape)} of {first.name}, {list(theirs[name].shape)} of {second.name}"
            )
        elif not ours[name].size:
            said.append(f"{name}: is empty")
        else:
            names.append(name)
    if not names:
        raise DataError(f"{first.name} and {second.name} have no output to compare: {'; '.join(said)}.")
    return names, tuple(said)


def _only(side: Side, names: Sequence[str]) -> Side:
    return Side(side.name, tuple({name: run[name] for name in names} for run in side.iterations))


def _missed(sqnr_db: float | None, cosine: float | None, gates: Gates) -> tuple[str, ...]:
    said = []
    if gates.min_sqnr is not None and sqnr_db is not None and not sqnr_db >= gates.min_sqnr:
        said.append(f"{sqnr_db:.2f} dB of the {gates.min_sqnr:g} dB wanted (--min-sqnr)")
    if gates.min_cosine is not None and cosine is not None and not cosine >= gates.min_cosine:
        said.append(f"cosine {cosine:.6f} of the {gates.min_cosine:g} wanted (--min-cosine)")
    return tuple(said)
