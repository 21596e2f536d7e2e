"""How many bits the weights of each layer have, or what it reads (without a budget), as a recipe says it.

4                                                all layers
{default: 4, first: 8, last: 8}                  the first and the last ones of the graph (see ``ends``) have others
{default: 4, '/head/': 8}                        so have those whose name a regular expression is found in
{budget: 4.5, first: 8}                          the others have 4.5 bits on average, where they are best spent
{budget: 6, widths: [4, 8]}                      each of them one of these
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

from pydantic import WithJsonSchema

from onnxq.errors import RecipeError, unknown

LEAST, MOST = 2, 8
ENDS = ("first", "last")
KEYS = ("default", "budget", "widths", *ENDS)
ALL = tuple(range(LEAST, MOST + 1))

Bits = int | float | Mapping[str, object]
"""As it is written, right or wrong."""

ByLayer = Annotated[dict[str, object], WithJsonSchema({"onnxq": "bits_by_layer"})]
"""The field of a pass."""


@dataclass(frozen=True)
class Width:
    """The ``bits`` of a layer, and ``why``, in words."""

    bits: int
    why: str = ""


@dataclass(frozen=True)
class Widths:
    """``fixed``: bits by ``first``, ``last`` or a regular expression, of which the first that fits a layer counts;
    ``default``: of all other layers, None as the backend has it; or a ``budget``: the average over the weights of all
    other layers, each of which has one of ``choices``."""

    fixed: tuple[tuple[str, int], ...] = ()
    default: int | None = None
    budget: float | None = None
    choices: tuple[int, ...] = ALL

    @staticmethod
    def of(bits: Bits | None, allowed: Collection[int] = ALL) -> "Widths":
        """Raises RecipeError."""
        if not isinstance(bits, Mapping):
            return Widths(default=None if bits is None else _width("", bits, allowed))
        for key in bits:
            _check_key(key)
        if "budget" in bits and "default" in bits:
            raise RecipeError("bits: both 'default' and 'budget' say what all other layers have. Leave one out.")
        if "widths" in bits and "budget" not in bits:
            raise RecipeError("bits: 'widths' are what a 'budget' may choose from, and there is none. Give one.")
        choices = _choices(bits["widths"]) if "widths" in bits else ALL
        return Widths(
            tuple((key, _width(key, value, allowed)) for key, value in bits.items() if key in ENDS or key not in KEYS),
            _width("default", bits["default"], allowed) if "default" in bits else None,
            _budget(bits["budget"], choices) if "budget" in bits else None,
            choices,
        )

    @property
    def usual(self) -> int | None:
        """What most layers have, about; None as the backend has it."""
        return self.default if self.budget is None else round(self.budget)

    def fitting(self, names: Collection[str], ends: Mapping[str, Collection[str]]) -> list[tuple[str, int]]:
        """Those of ``fixed`` that fit a layer, of which the first counts. ``names`` are those of its nodes; ``ends``:
        the first and the last nodes of the graph."""
        return [
            (key, bits)
            for key, bits in self.fixed
            if any(name in ends[key] if key in ENDS else re.search(key, name) for name in names)
        ]


def read_widths(text: str, option: str = "--weight-bits") -> Bits:
    """``4``, ``4,first=8,last=8`` or ``budget=4.5``, as a command line has it. Raises RecipeError for what is no
    number."""
    found: dict[str, object] = {}
    budget = ", or budget=4.5" if option == "--weight-bits" else ""
    for entry in text.split(","):
        key, _, value = entry.rpartition("=")
        key = key.strip() or "default"
        if key in found:
            raise RecipeError(f"{option}: {text!r} says {key!r} twice.")
        try:
            found[key] = [int(one) for one in value.split("/")] if key == "widths" else _number(value)
        except ValueError:
            raise RecipeError(
                f"{option}: {entry.strip()!r} is no number of bits. Give 4, or 4,first=8,last=8{budget}; a regular "
                "expression with a comma in it needs a recipe."
            ) from None
    alone = found.get("default") if len(found) == 1 else None
    return alone if isinstance(alone, int | float) else found


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _check_key(key: str) -> None:
    if key in KEYS:
        return
    if key.isidentifier() and get_close_matches(key, KEYS, n=1, cutoff=0.7):
        raise RecipeError(f"bits: {unknown('key', key, KEYS)} For a layer of that name, write '^{key}'.")
    try:
        re.compile(key)
    except re.error as error:
        raise RecipeError(f"bits: {key!r} is not a regular expression on names of nodes: {error}.") from error


def _width(key: str, value: object, allowed: Collection[int] = ALL) -> int:
    said = f"bits: {key!r} is {value!r}," if key else f"bits: {value!r} is"
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
        more = "".join(f", or {bits}" for bits in allowed if bits > MOST)
        raise RecipeError(f"{said} not a whole number from {LEAST} to {MOST}{more}.")
    return int(value)


def _choices(value: object) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise RecipeError(f"bits: 'widths' is {value!r}, not a list such as [4, 8].")
    return tuple(sorted({_width("widths", one) for one in value}))


def _budget(value: object, choices: Sequence[int]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not choices[0] <= value <= choices[-1]:
        raise RecipeError(f"bits: a budget of {value!r}, and a layer may have {choices[0]} to {choices[-1]} bits.")
    return float(value)
