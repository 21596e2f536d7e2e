"""Choose the integers of every planned weight: round to nearest on a grid that reaches the largest value."""

import time
from collections.abc import Mapping
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
from onnxq.scheme import Range, Scheme, Steps, dequantize, quantize, same_grid
from onnxq.scratch import spilled
from onnxq.second_moments import Moments
from onnxq.solving.allocation import bits_of
from onnxq.solving.budget import require_highs
from onnxq.solving.solved import Solved
from onnxq.solving.widths import Widths
from onnxq.workspace import RoundedWeight, Workspace

BIAS_LIMIT = 2.0**30  # int32, with a bit to spare for what is added to the bias


@dataclass(frozen=True)
class RoundWeights:
    """``bits`` 2 to 8, stored in 8, and None as the backend has it, or for each layer as ``solving.widths`` has it;
    ``per_channel``: one scale per output channel where
    the backend has that, or one per weight."""

    bits: Literal[2, 3, 4, 5, 6, 7, 8] | dict[str, object] | None = None
    per_channel: bool = True
    name: ClassVar[str] = "round_weights"

    def __post_init__(self) -> None:
        if Widths.of(self.bits).budget is not None:
            require_highs()

    def __call__(self, workspace: Workspace) -> bool:
        tensors = every_tensor(workspace.graph)
        nodes = {node.name: node for node in every_node(workspace.graph)}
        before, workspace.weights = workspace.weights, {}
        large = bool(outsiders(workspace.source))  # too large for memory, and its integers are a quarter of it

        def solve(weight: Weight, bits: int) -> RoundedWeight:
            values = np.asarray(held(tensors[weight.tensor]), np.float32)
            scheme = self._scheme(weight.scheme, bits)
            found = reach(values, scheme)
            wide = _widened(found, scheme, _bias_floor(weight, nodes, workspace))
            if np.any(wide.high - wide.low > found.high - found.low):
                reason = "scales widened so that the bias fits 32 bits"
                workspace.ledger.add("clipped", self.name, weight.tensor, reason)
            params = best_grid(values, scheme, wide)
            return RoundedWeight(quantize(values, params), params)

        def rounded(weight: Weight, bits: int, moments: Mapping[str, Moments]) -> NDArray[np.float32]:
            found = solve(weight, bits)
            return dequantize(found.integers, found.params)

        workspace.solved = {}
        for weight, width in bits_of(workspace, Widths.of(self.bits), rounded).items():
            start = time.perf_counter()
            found = solve(weight, width.bits)
            name, seconds = min(name for name, _ in weight.readers), time.perf_counter() - start
            workspace.solved[weight] = Solved(name, "nearest", width.bits, 1.0, 0.0, seconds, width.why)
            workspace.weights[weight] = replace(found, integers=spilled(found.integers)) if large else found
        return not same(workspace.weights, before)

    def _scheme(self, wanted: Scheme, bits: int) -> Scheme:
        if wanted.steps is Steps.LOGARITHMIC and bits != wanted.bits:
            raise RecipeError(f"bits: {bits}; a logarithmic grid has {wanted.bits} (--weight-bits).")
        return replace(wanted, bits=bits, axis=wanted.axis if self.per_channel else None)


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
