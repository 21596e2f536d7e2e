"""Choose the integers of a layer's weights so that the layer errs least on what it reads: solvers, one per file."""

from typing import cast

from onnxq import plugins
from onnxq.choices import Choice, made, named
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

SOLVERS: dict[str, type[Solver]] = {
    "nearest": Nearest,
    "mse": Mse,
    "gptq": Gptq,
    "coordinate_descent": CoordinateDescent,
    "bit_split": BitSplit,
    "adaround": AdaRound,
    "auto": Auto,
}

__all__ = [
    "SOLVERS",
    "AdaRound",
    "Auto",
    "BitSplit",
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
    name, options = named(choice, "solver")
    return made(solver_of(name), options, name)


def _checked(name: str, found: object) -> type[Solver]:
    if not isinstance(found, type):
        raise TypeError(f"it is not a solver, a class that is called with a problem: it is a {type(found).__name__}")
    if "__call__" not in dir(found):
        raise TypeError("it is not a solver, a class that is called with a problem: it has no '__call__'")
    return cast(type[Solver], found)
