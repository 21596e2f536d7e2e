"""Which nodes are to have more, bits or float, so that little noise is left and most work stays as it is.

    minimise sum cost[n] x[n]   with   sum noise[g] (1 - y[g]) <= left,   y[g] <= x[n] for every reader n of grid g

over binary ``x``: node ``n`` is raised, and ``y``: grid ``g`` is gone since all its readers are. HiGHS solves it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxq.backends.backend import Backend
from onnxq.diagnosing.remedies import exactly, in_float
from onnxq.passes import PlanIntegers, RoundWeights
from onnxq.planning.activation_bits import WIDE
from onnxq.recipe import Recipe
from onnxq.solving.widths import MOST, Widths
from onnxq.tuning.sensitivity import Grid, Sensitivity

EACH = 1e-3  # of all work: what a node costs beside its own, for the conversions around it
GAP = 1e-3  # of the sum: noises are known to some percent
DIGITS = 3  # of a noise: its last ones may depend on the number of threads


@dataclass(frozen=True)
class Raise:
    """A way to give nodes more: ``said`` with how many there are; ``helps``: the grids that it does away with."""

    name: str
    change: Callable[[Recipe, Sequence[str]], Recipe]
    helps: Callable[[Grid], bool]


def raises(recipe: Recipe, backend: Backend) -> tuple[Raise, ...]:
    """Those that the recipe and the backend have, the cheapest first."""
    rounds = [step for step in recipe.passes if isinstance(step, RoundWeights)]
    few_bits = any((Widths.of(step.bits).usual or MOST) < MOST for step in rounds)
    found = [Raise(f"weights of {MOST} bits in", _more_weight_bits, lambda grid: grid.weight)] if few_bits else []
    if backend.wide is not None and backend.simulated:  # kernels here compute wide activations in float
        found.append(Raise(f"activations of {WIDE} bits for", _more_activation_bits, lambda grid: not grid.weight))
    return (*found, Raise("float:", in_float, lambda grid: True))


def chosen(known: Sensitivity, way: Raise, left: float) -> tuple[str, ...]:
    """The nodes to raise so that at most ``left`` noise remains, in graph order; all, where that is not enough."""
    import highspy

    names = list(known.work)
    grids = [grid for grid in known.grids if way.helps(grid) and not grid.stays and _rounded(grid.noise) > 0]
    scale = max((grid.noise for grid in grids), default=1.0)
    rest = sum(grid.noise for grid in known.grids) - sum(grid.noise for grid in grids)
    room = left - rest
    if room < 0:
        return tuple(names)
    solver = highspy.Highs()
    for option, value in {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": GAP}.items():
        solver.setOptionValue(option, value)
    total = sum(known.work.values()) or 1
    raised = {name: solver.addBinary(obj=known.work[name] / total + EACH) for name in names}
    gone = [solver.addVariable(0, 1) for _ in grids]
    for grid, one in zip(grids, gone, strict=True):
        for reader in sorted(grid.readers & raised.keys()):
            solver.addConstr(one <= raised[reader])
    noises = [_rounded(grid.noise / scale) for grid in grids]
    solver.addConstr(sum(noise * (1 - one) for noise, one in zip(noises, gone, strict=True)) <= room / scale)
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal  # to raise all of them would do
    return tuple(name for name in names if solver.val(raised[name]) > 0.5)


def _rounded(noise: float) -> float:
    return float(f"{noise:.{DIGITS}g}")


def _more_weight_bits(recipe: Recipe, nodes: Sequence[str]) -> Recipe:
    own = next(step for step in recipe.passes if isinstance(step, RoundWeights)).bits
    before = own if isinstance(own, dict) else {"default": own}
    return recipe.changed(RoundWeights, bits={**{exactly(name): MOST for name in nodes}, **before})


def _more_activation_bits(recipe: Recipe, nodes: Sequence[str]) -> Recipe:
    own = next(step for step in recipe.passes if isinstance(step, PlanIntegers)).activation_bits
    before = own if isinstance(own, dict) else {} if own is None else {"default": own}
    return recipe.changed(PlanIntegers, activation_bits={**{exactly(name): WIDE for name in nodes}, **before})
