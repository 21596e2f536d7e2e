"""Choose the integers of every planned weight: by a solver, on second moments of what its layer reads, or to nearest.

A grid reaches its weight's largest value; solvers may choose smaller ones. Layers are solved in graph order, each on
what it reads behind those that were solved before it, so that it makes up for what their rounding, and that of
activations, did (see ``onnxq.solving``). On samples that chose nothing the outputs of the network are judged, and where
solved weights bring them no closer to the float ones, all are rounded to nearest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Literal

import numpy as np

from onnxq.choices import SolverChoice, named
from onnxq.errors import RecipeError
from onnxq.plan import Weight
from onnxq.scheme import same_grid
from onnxq.solving import BitSplit, CoordinateDescent, Gptq, Mse, Nearest, Solver, chosen
from onnxq.solving.allocation import bits_of
from onnxq.solving.budget import require_highs
from onnxq.solving.effects import Known
from onnxq.solving.network import solved
from onnxq.solving.solved_layer import NEAREST, SolvedLayer
from onnxq.solving.starts import Starts
from onnxq.solving.tried import tried
from onnxq.solving.widths import ByLayer, Width, Widths
from onnxq.workspace import RoundedWeight, Workspace

QUICK = (Mse, Gptq, CoordinateDescent)  # solvers that can be asked for every width of every layer


@dataclass(frozen=True)
class RoundWeights:
    """``bits`` 2 to 8, None as the backend has it, or by layer (see ``onnxq.solving.widths``);
    ``per_channel``: one scale per output channel where the backend has that, or one per weight; ``solver``: by name, or
    ``{name: options}``; ``samples``: how many it is shown, by default 72 at 8 bits and 256 below;
    ``block_size``: one scale for so many rows of a weight, at most, whose MatMul or Gemm computes in float."""

    bits: Literal[2, 3, 4, 5, 6, 7, 8] | ByLayer | None = None
    per_channel: bool = True
    solver: SolverChoice = "nearest"
    samples: int | None = None
    block_size: Literal[16, 32, 64, 128, 256] | None = None
    name: ClassVar[str] = "round_weights"

    def __post_init__(self) -> None:
        if Widths.of(self.bits).budget is not None:
            require_highs()
        if self.samples is not None and self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is less than 1")
        try:
            _ = self.chosen
        except RecipeError as error:
            raise RecipeError(f"solver: {error}") from error

    @cached_property
    def chosen(self) -> Solver:
        """The solver with its options."""
        return chosen(self.solver)

    @property
    def solves(self) -> bool:
        """Whether it runs the quantized graph, which needs the grids of activations."""
        return not isinstance(self.chosen, Nearest)

    def __call__(self, workspace: Workspace) -> bool:
        solver = self.chosen
        # Bit-split is as published: of ternary planes, which are even.
        starts = Starts(workspace, self.per_channel, self.block_size, shifted=not isinstance(solver, BitSplit))
        widths = bits_of(workspace, Widths.of(self.bits), partial(_tried, starts, solver))
        begun = {weight: starts(weight, width.bits) for weight, width in widths.items()}
        for weight, start in begun.items():
            if start.widened:
                reason = "scales widened so that the bias fits 32 bits"
                workspace.ledger.add("clipped", self.name, weight.tensor, reason)
            if start.no_blocks:
                workspace.ledger.add("declined", self.name, weight.tensor, start.no_blocks)
        found = {weight: start.rounded for weight, start in begun.items()}
        bits = {weight: rounded.params.scheme.bits for weight, rounded in found.items()}  # fewer may be declined
        told = {weight: _layer(weight, replace(width, bits=bits[weight])) for weight, width in widths.items()}
        if self.solves:
            floors = {weight: start.floor for weight, start in begun.items()}
            name, _ = named(self.solver, "solver")
            for one in solved(workspace, dict(found), floors, solver, self.samples):
                found[one.weight] = one.rounded
                told[one.weight] = replace(
                    told[one.weight],
                    solver=name,
                    relative_error=one.error,
                    clipped=one.clipped,
                    seconds=one.seconds,
                )
        before, workspace.weights, workspace.solved = workspace.weights, found, told
        return not same(workspace.weights, before)


def _tried(starts: Starts, solver: Solver, weight: Weight, bits: int, known: Known) -> RoundedWeight:
    """A weight with so many bits, for the split of a budget: as the solver chooses it, or a quicker one."""
    start = starts(weight, bits)
    if isinstance(solver, Nearest) or len(known) != 1:
        return start.rounded
    ((name, moments),) = known.items()
    quick = solver if isinstance(solver, QUICK) else CoordinateDescent()
    return starts.kept(tried(starts.nodes[name], start.rounded, start.floor, moments, quick))


def _layer(weight: Weight, width: Width) -> SolvedLayer:
    """As if rounded to nearest."""
    return SolvedLayer(weight.layer, NEAREST, width.bits, 1.0, 0.0, 0.0, width.why)


def same(some: Mapping[Weight, RoundedWeight], others: Mapping[Weight, RoundedWeight]) -> bool:
    """Whether both choose the same integers on the same grids."""
    return some.keys() == others.keys() and all(
        same_grid(rounded.params, others[weight].params) and np.array_equal(rounded.integers, others[weight].integers)
        for weight, rounded in some.items()
    )
