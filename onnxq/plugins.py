"""Backends, passes, calibrators and solvers that are not onnxq's own: those that installed packages offer, by the entry
points in their metadata, and those that a user names as ``module:Class``.

    [project.entry-points."onnxq.backends"]
    my_npu = "my_package.my_npu:BACKEND"

Nothing is imported until a name is asked for. A name that is onnxq's own, or that two packages offer, is an error when
it is asked for: what a recipe means must not depend on what else is installed.
"""

import importlib
import sys
from collections.abc import Callable, Collection
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Literal, TypeVar

from onnxq.errors import RecipeError

Kind = Literal["backend", "pass", "calibrator", "solver"]
T = TypeVar("T")

GROUPS: dict[Kind, str] = {
    "backend": "onnxq.backends",
    "pass": "onnxq.passes",
    "calibrator": "onnxq.calibrators",
    "solver": "onnxq.solvers",
}


def offered(kind: Kind) -> tuple[str, ...]:
    """The names that packages offer."""
    return tuple(sorted({entry.name for entry in _entries(kind, tuple(sys.path))}))


def load(kind: Kind, name: str, own: Collection[str], check: Callable[[str, object], T]) -> T | None:
    """What a package offers by that name, if ``check`` lets it pass; None if none does.

    Raises RecipeError that names the package: for a name that is one of onnxq's ``own`` or that two packages offer,
    for what cannot be imported, and for whatever ``check`` raises.
    """
    found = [entry for entry in _entries(kind, tuple(sys.path)) if entry.name == name]
    if not found:
        return None
    packages = " and ".join(sorted({_package(entry) for entry in found}))
    if name in own:
        raise RecipeError(
            f"{packages} offers a {kind} {name!r}, which is a name of onnxq's own. Rename it there, or uninstall it."
        )
    if len(found) > 1:
        raise RecipeError(f"{packages} both offer a {kind} {name!r}. Uninstall one of them.")
    try:
        return check(name, found[0].load())
    except Exception as error:  # importing runs the package's code, which may raise anything
        raise RecipeError(
            f"the {kind} {name!r} of {packages} ({found[0].value}) cannot be used: "
            f"{type(error).__name__}: {error}. Mend the package, or uninstall it."
        ) from error


def imported(kind: Kind, name: str, check: Callable[[str, object], T]) -> T | None:
    """What ``module:Class`` names, if ``check`` lets it pass; None for a name that is not of that form.

    Raises RecipeError for what cannot be imported, and for what ``check`` says of it.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        return None
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's module, which may raise anything
        way_out = " Put its folder into PYTHONPATH." if isinstance(error, ModuleNotFoundError) else ""
        raise RecipeError(f"{kind} {name!r} cannot be imported: {error}.{way_out}") from error
    try:
        return check(name, found)
    except TypeError as error:
        raise RecipeError(f"{name!r} {str(error).removeprefix('it ')}.") from error


@cache
def _entries(kind: Kind, path: tuple[str, ...]) -> EntryPoints:
    """Of all packages on the ``path``: reading their metadata takes milliseconds, and every pass of a recipe asks."""
    return entry_points(group=GROUPS[kind])


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
