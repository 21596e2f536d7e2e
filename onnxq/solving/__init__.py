"""Choose the integers of a layer's weights so that the layer errs least on what it reads: solvers, one per file."""

import dataclasses
from collections.abc import Mapping
from typing import cast

from onnxq import plugins
from onnxq.errors import RecipeError, unknown
from onnxq.solving.adaround import AdaRound
from onnxq.solving.auto import Auto
from onnxq.solving.bit_split import BitSplit
from onnxq.solving.coordinate_descent import CoordinateDescent
from onnxq.solving.gptq import Gptq
from onnxq.solving.grid import Grid
from onnxq.solving.guarded import solve
from onnxq.solving.nearest import Nearest
from onnxq.solving.problem import Problem, Solution, Solver
from onnxq.solving.scale_search import Mse
from onnxq.validation import validated

SOLVERS: dict[str, type[Solver]] = {
    "nearest": Nearest,
    "mse": Mse,
    "gptq": Gptq,
    "coordinate_descent": CoordinateDescent,
    "bit_split": BitSplit,
    "adaround": AdaRound,
    "auto": Auto,
}
Choice = str | Mapping[str, Mapping[str, object] | None]  # the name of a solver, or {name: options}

__all__ = [
    "SOLVERS",
    "AdaRound",
    "Auto",
    "BitSplit",
    "Choice",
    "CoordinateDescent",
    "Gptq",
    "Grid",
    "Mse",
    "Nearest",
    "Problem",
    "Solution",
    "Solver",
    "chosen",
    "solve",
    "solver_names",
    "solver_of",
]


def solver_names() -> tuple[str, ...]:
    """Every name ``solver_of`` knows, those that installed packages offer included."""
    return (*SOLVERS, *plugins.offered("solver"))


def solver_of(name: str) -> type[Solver]:
    """The solver of that name, or the user's own as ``module:Class``. Raises RecipeError where there is none."""
    if plugin := plugins.load("solver", name, SOLVERS, _checked):
        return plugin
    if own := plugins.imported("solver", name, _checked):
        return own
    if name not in SOLVERS:
        raise RecipeError(f"{unknown('solver', name, solver_names())} A solver of your own is written module:Class.")
    return SOLVERS[name]


def chosen(choice: Choice) -> Solver:
    """The solver with its options, as a recipe writes it. Raises RecipeError where it is none."""
    if isinstance(choice, str):
        return _made(choice, {})
    if len(choice) != 1:
        said = ", ".join(map(repr, choice)) or "none"
        raise RecipeError(f"one solver is wanted, by name or as `name: {{options}}`; not {said}")
    name, options = next(iter(choice.items()))
    return _made(name, options or {})


def _made(name: str, options: Mapping[str, object]) -> Solver:
    kind = solver_of(name)
    if options and not dataclasses.is_dataclass(kind):
        given = ", ".join(map(repr, options))
        raise RecipeError(f"{name}: it is not a dataclass, so it has no options, and {given} cannot be set.")
    try:
        return validated(kind, options, name) if dataclasses.is_dataclass(kind) else kind()
    except RecipeError as error:  # one that the solver raises itself knows not what it is called
        raise RecipeError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    except Exception as error:  # the user's own code, which may raise anything
        raise RecipeError(f"{name}: cannot be made: {type(error).__name__}: {error}.") from error


def _checked(name: str, found: object) -> type[Solver]:
    if not isinstance(found, type):
        raise TypeError(f"it is not a solver, a class that is called with a problem: it is a {type(found).__name__}")
    if "__call__" not in dir(found):
        raise TypeError("it is not a solver, a class that is called with a problem: it has no '__call__'")
    return cast(type[Solver], found)
