"""Of several solvers, for every row the solution with the least exact error; of rows that share a scale, for all."""

from dataclasses import dataclass

from onnxq.choices import Choice, SolverChoice
from onnxq.errors import RecipeError
from onnxq.solving.guarded import best
from onnxq.solving.problem import Problem, Solution, Solver

TRIED: tuple[Choice, ...] = (
    "coordinate_descent",
    {"coordinate_descent": {"start": {"gptq": {"damping": 0.001, "scales": 31}}}},
    {"coordinate_descent": {"start": {"gptq": {"damping": 0.1, "scales": 31}}}},
)


@dataclass(frozen=True)
class Auto:
    """``of``: the solvers, each by name or as ``{name: options}``."""

    of: tuple[SolverChoice, ...] = TRIED

    def __post_init__(self) -> None:
        if not self.of:
            raise RecipeError("of: no solver is named")
        try:
            _ = self.solvers
        except RecipeError as error:
            raise RecipeError(f"of: {error}") from error

    def __call__(self, problem: Problem) -> Solution:
        return best(problem, [solver(problem) for solver in self.solvers])

    @property
    def solvers(self) -> tuple[Solver, ...]:
        from onnxq.solving import chosen  # which knows this solver too

        return tuple(map(chosen, self.of))
