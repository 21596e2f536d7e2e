"""Solvers by name, with options, and a user's own."""

import sys
from pathlib import Path

import pytest

from onnxq.errors import RecipeError
from onnxq.solving import SOLVERS, CoordinateDescent, Gptq, Mse, Problem, Solution, chosen, solve, solver_names
from random_problems import problem

MODULE = """
from dataclasses import dataclass
from onnxq.errors import RecipeError
from onnxq.solving import Solution

@dataclass(frozen=True)
class Zeros:
    shift: int = 0
    def __post_init__(self):
        if self.shift > 9:
            raise RecipeError(f"shift: {self.shift} is above 9")
    def __call__(self, problem):
        return Solution(0 * problem.weight + self.shift, problem.grid)

class Bare:
    def __call__(self, problem):
        return Solution(0 * problem.weight, problem.grid)

class Broken:
    def __init__(self):
        raise OSError("gone")
    __call__ = None

NOT_ONE = "a string"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_solvers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_solvers", raising=False)


def test_a_recipe_writes_them_by_name_or_with_options() -> None:
    assert chosen("mse") == Mse()
    assert chosen({"gptq": {"damping": 0.1}}) == Gptq(damping=0.1)
    assert chosen({"gptq": None}) == Gptq()
    assert chosen({"coordinate_descent": {"start": {"mse": {"weighted": False}}, "sweeps": 3}}) == CoordinateDescent(
        start={"mse": {"weighted": False}}, sweeps=3
    )
    assert solver_names() == tuple(SOLVERS)


@pytest.mark.usefixtures("own")
def test_a_users_own_is_as_good_as_any_and_never_worse_than_rounding() -> None:
    of = problem()
    solver = chosen({"own_solvers:Zeros": {"shift": 2}})
    assert (solver(of).integers == 2).all()
    assert of.error(solve(of, solver)).sum() <= of.error(solve(of, chosen("nearest"))).sum()
    assert isinstance(chosen({"coordinate_descent": {"start": "own_solvers:Bare"}})(of), Solution)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("gptk", r"unknown solver 'gptk'. Did you mean 'gptq'\? .* module:Class"),
        ({"gptq": {"dampin": 1}}, "gptq: unknown field 'dampin'"),
        ({"gptq": {"damping": "much"}}, "gptq: field 'damping' is 'much' but"),
        ({"gptq": {"damping": -1}}, "gptq: .*damping"),
        ({"gptq": {}, "mse": {}}, "one solver is wanted, .* not 'gptq', 'mse'"),
        ({"own_solvers:Zeros": {"shift": 10}}, "own_solvers:Zeros: shift: 10 is above 9"),
        ({"own_solvers:Bare": {"shift": 1}}, "it is not a dataclass, so it has no options, and 'shift'"),
        ("own_solvers:Broken", "own_solvers:Broken: cannot be made: OSError: gone"),
        ("own_solvers:NOT_ONE", "is not a solver, a class that is called with a problem: it is a str"),
        ("own_solvers:Path", "cannot be imported"),
        ("builtins:int", "it has no '__call__'"),
    ],
)
def test_what_is_no_solver_says_so(choice: str | dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        chosen(choice)


def test_a_problem_with_one_column_and_one_row() -> None:
    of = problem((1, 1, 1))
    for name in SOLVERS:
        assert isinstance(of, Problem) and solve(of, chosen(name)).integers.shape == (1, 1, 1)
