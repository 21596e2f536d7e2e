"""Improve another solver's integers one at a time, and the scales in closed form, in turns (see ``descent``)."""

from dataclasses import dataclass
from functools import cached_property

from onnxq.choices import SolverChoice
from onnxq.errors import RecipeError
from onnxq.solving.descent import Descent
from onnxq.solving.problem import Problem, Solution, Solver


@dataclass(frozen=True)
class CoordinateDescent:
    """``start``: the solver that it starts from, by name or as ``{name: options}``; ``sweeps``: over all columns, at
    most; ``scales``: whether these are changed too; ``tolerance``: ends when a sweep takes away less than that share of
    the error."""

    start: SolverChoice = "gptq"
    sweeps: int = 10
    scales: bool = True
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not 1 <= self.sweeps <= 1000:
            raise RecipeError(f"sweeps: {self.sweeps} is not 1 to 1000")
        if not 0 <= self.tolerance < 1:
            raise RecipeError(f"tolerance: {self.tolerance} is not at least 0 and below 1")
        try:
            _ = self.starter
        except RecipeError as error:
            raise RecipeError(f"start: {error}") from error

    def __call__(self, problem: Problem) -> Solution:
        state = Descent.of(problem, self.starter(problem))
        if self.scales:
            state.rescale()
        error = state.error
        for _ in range(self.sweeps):
            state.sweep()
            if self.scales:
                state.rescale()
            before, error = error, state.error
            if before - error <= self.tolerance * before:
                break
        return state.solution

    @cached_property
    def starter(self) -> Solver:
        """What it starts from."""
        from onnxq.solving import chosen  # which knows this solver too

        return chosen(self.start)
