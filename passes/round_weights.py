"""Choose the integers of every planned weight: by a solver, on second moments of what its layer reads, or to nearest.

A grid reaches its weight's largest value; solvers may choose smaller ones. Layers are solved in graph order, each on
what it reads behind those that were solved before it, so that it makes up for what their rounding, and that of
activations, did (see ``onnxq.solving``). On samples that chose nothing the outputs of the network are judged, and where
solved weights bring them no closer to the float ones, all are rounded to nearest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.constants import best_grid, reach
from onnxq.errors import RecipeError
from onnxq.graph import every_node, every_tensor, has_bias, held, is_constant
from onnxq.outside import outsiders
from onnxq.plan import Weight
from onnxq.scheme import Range, Scheme, Steps, quantize, same_grid
from onnxq.scratch import spilled
from onnxq.solving import Choice, Nearest, Solver, chosen
from onnxq.solving.allocation import bits_of
from onnxq.solving.budget import require_highs
from onnxq.solving.effects import Known, Rounded
from onnxq.solving.network import solved
from onnxq.solving.solved_layer import NEAREST, SolvedLayer
from onnxq.solving.tried import tried
from onnxq.solving.widths import Width, Widths
from onnxq.weight_forms import in_blocks
from onnxq.workspace import RoundedWeight, Workspace

BIAS_LIMIT = 2.0**30  # int32, with a bit to spare for what is added to the bias


@dataclass(frozen=True)
class RoundWeights:
    """``bits`` 2 to 8, None as the backend has it, or by layer (see ``onnxq.solving.widths``);
    ``per_channel``: one scale per output channel where the backend has that, or one per weight; ``solver``: by name, or
    ``{name: options}``; ``samples``: how many it is shown, by default 32 at 8 bits and 256 below;
    ``block_size``: one scale for so many rows of a weight, at most, whose MatMul or Gemm computes in float."""

    bits: Literal[2, 3, 4, 5, 6, 7, 8] | dict[str, object] | None = None
    per_channel: bool = True
    solver: Choice = "nearest"
    samples: int | None = None
    block_size: Literal[16, 32, 64, 128, 256] | None = None
    name: ClassVar[str] = "round_weights"

    def __post_init__(self) -> None:
        if Widths.of(self.bits).budget is not None:
            require_highs()
        if self.samples is not None and self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is less than 1")
        try:
            chosen(self.solver)
        except RecipeError as error:
            raise RecipeError(f"solver: {error}") from error

    def __call__(self, workspace: Workspace) -> bool:
        solver = chosen(self.solver)
        widths = bits_of(workspace, Widths.of(self.bits), self._tried(workspace, solver))
        starts = self._starts(workspace)
        nearest: dict[Weight, RoundedWeight] = {}
        floors = {}
        large = bool(outsiders(workspace.source))  # too large for memory, and its integers are a quarter of it
        for weight, width in widths.items():
            start = starts(weight, width.bits)
            if start.widened:
                reason = "scales widened so that the bias fits 32 bits"
                workspace.ledger.add("clipped", self.name, weight.tensor, reason)
            if start.no_blocks:
                workspace.ledger.add("declined", self.name, weight.tensor, start.no_blocks)
            rounded = start.rounded
            nearest[weight] = replace(rounded, integers=spilled(rounded.integers)) if large else rounded
            floors[weight] = start.floor
        held_bits = {weight: rounded.params.scheme.bits for weight, rounded in nearest.items()}
        workspace.solved = {w: _layer(w, replace(width, bits=held_bits[w])) for w, width in widths.items()}
        chosen_ones = dict(nearest)
        if not isinstance(solver, Nearest):
            for one in solved(workspace, nearest, floors, solver, self.samples):
                chosen_ones[one.weight] = one.rounded
                layer = workspace.solved[one.weight]
                workspace.solved[one.weight] = replace(
                    layer, solver=self._name, relative_error=one.error, clipped=one.clipped, seconds=one.seconds
                )
        before, workspace.weights = workspace.weights, chosen_ones
        return not same(workspace.weights, before)

    @property
    def _name(self) -> str:
        return self.solver if isinstance(self.solver, str) else next(iter(self.solver))

    def _starts(self, workspace: Workspace) -> Callable[[Weight, int], "Start"]:
        """A weight with so many bits, rounded to nearest."""
        tensors = every_tensor(workspace.graph)
        nodes = {node.name: node for node in every_node(workspace.graph)}

        def start(weight: Weight, bits: int) -> Start:
            values = np.asarray(held(tensors[weight.tensor]), np.float32)
            scheme, reason = self._in_blocks(self._scheme(weight.scheme, bits), weight, nodes, workspace)
            found, floor = reach(values, scheme), _bias_floor(weight, nodes, workspace)
            wide = _widened(found, scheme, floor)
            params = best_grid(values, scheme, wide)
            widened = bool(np.any(wide.high - wide.low > found.high - found.low))
            return Start(RoundedWeight(quantize(values, params), params), floor, widened, reason)

        return start

    def _tried(self, workspace: Workspace, solver: Solver) -> Rounded:
        """A weight with so many bits, for the split of a budget."""
        starts = self._starts(workspace)
        nodes = {node.name: node for node in workspace.graph.nodes}

        def rounded(weight: Weight, bits: int, known: Known) -> RoundedWeight:
            start = starts(weight, bits)
            if isinstance(solver, Nearest) or len(known) != 1:
                return start.rounded
            ((name, moments),) = known.items()
            return tried(nodes[name], start.rounded, start.floor, moments, solver)

        return rounded

    def _scheme(self, wanted: Scheme, bits: int) -> Scheme:
        if not wanted.even and bits != wanted.bits:
            kind = "a grid of floats" if wanted.steps is Steps.FLOAT8 else "a logarithmic grid"
            raise RecipeError(f"bits: {bits}; {kind} has {wanted.bits} (--weight-bits).")
        return replace(wanted, bits=bits, axis=wanted.axis if self.per_channel else None)

    def _in_blocks(
        self, scheme: Scheme, weight: Weight, nodes: Mapping[str, gs.Node], workspace: Workspace
    ) -> tuple[Scheme, str]:
        """With blocks where they are asked for, or why not."""
        if self.block_size is None:
            return scheme, ""
        return in_blocks(scheme, self.block_size, weight, nodes, workspace.plan, workspace.backend)


@dataclass(frozen=True)
class Start:
    """A weight ``rounded`` to nearest; the least scales that its bias allows, [channels] or [1], and whether the grid
    was ``widened`` for them; why it has no blocks, where they were asked for."""

    rounded: RoundedWeight
    floor: NDArray[np.float64]
    widened: bool
    no_blocks: str = ""


def _layer(weight: Weight, width: Width) -> SolvedLayer:
    """As if rounded to nearest."""
    return SolvedLayer(min(name for name, _ in weight.readers), NEAREST, width.bits, 1.0, 0.0, 0.0, width.why)


def same(some: Mapping[Weight, RoundedWeight], others: Mapping[Weight, RoundedWeight]) -> bool:
    """Whether both choose the same integers on the same grids."""
    return some.keys() == others.keys() and all(
        same_grid(rounded.params, others[weight].params) and np.array_equal(rounded.integers, others[weight].integers)
        for weight, rounded in some.items()
    )


def _widened(found: Range, scheme: Scheme, floor: NDArray[np.float64]) -> Range:
    """The range stretched, about zero, until its scale is at least ``floor``."""
    least = np.asarray(floor if scheme.axis is not None else np.max(floor)) * (scheme.highest - scheme.lowest)
    width = found.high - found.low
    factor = np.maximum(least / np.where(width > 0, width, np.inf), 1)
    share = 0.5 if scheme.symmetric else 0.0  # of a weight of zeros, below zero
    return Range(
        np.where(width > 0, found.low * factor, -share * least),
        np.where(width > 0, found.high * factor, (1 - share) * least),
    )


def _bias_floor(weight: Weight, nodes: dict[str, gs.Node], workspace: Workspace) -> NDArray[np.float64]:
    """The least weight scale at which every bias ``b / (activation scale * weight scale)`` fits an int32.

    Engines that add the bias as an integer overflow silently below it. [channels], or [1] where there is no bias.
    """
    floor = np.zeros(1)
    for name, _ in weight.readers:
        node = nodes[name]
        grid = workspace.activations.get(node.inputs[0].name)
        if (
            grid is None
            or node.op not in ("Conv", "ConvTranspose", "Gemm")
            or not has_bias(node)
            or not is_constant(node.inputs[2])
        ):
            continue
        bias = np.abs(np.asarray(node.inputs[2].values, np.float64))
        if node.op == "ConvTranspose":  # groups share the scales
            bias = bias.reshape(int(node.attrs.get("group", 1)), -1).max(axis=0)
        elif bias.ndim > 1:  # a Gemm's, of one row or of several
            bias = bias.max(axis=tuple(range(bias.ndim - 1)))
        floor = np.maximum(floor, bias / (float(grid.scale) * BIAS_LIMIT))
    return floor
