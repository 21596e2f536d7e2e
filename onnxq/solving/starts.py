"""A weight rounded to nearest, with any bits, on a grid that reaches its largest value: what solvers begin with."""

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.constants import best_grid, reach
from onnxq.errors import RecipeError
from onnxq.graph import every_node, every_tensor, has_bias, held, is_constant
from onnxq.outside import outsiders
from onnxq.plan import Weight
from onnxq.scheme import SHIFTED_BITS, Range, Scheme, Steps, quantize
from onnxq.scratch import spilled
from onnxq.weight_forms import in_blocks
from onnxq.workspace import RoundedWeight, Workspace

BIAS_LIMIT = 2.0**30  # int32, with a bit to spare for what is added to the bias


@dataclass(frozen=True)
class Start:
    """A weight ``rounded`` to nearest; the least scales that its bias allows, [channels] or [1], and whether the grid
    was ``widened`` for them; why it has no blocks, where they were asked for."""

    rounded: RoundedWeight
    floor: NDArray[np.float64]
    widened: bool
    no_blocks: str = ""


class Starts:
    """For the weights of one workspace; ``per_channel``: where the backend has that, or one scale per weight;
    ``block_size``: one for so many rows of a weight, where a layer takes that; ``shifted``: integers of few bits lie
    where the weights of their channel do, where layers in integers take that."""

    def __init__(
        self, workspace: Workspace, per_channel: bool, block_size: int | None = None, shifted: bool = True
    ) -> None:
        self._workspace, self._per_channel, self._block_size = workspace, per_channel, block_size
        self._shifted = shifted and workspace.backend.low_bits.shifts
        self._tensors = every_tensor(workspace.graph)
        self.nodes = {node.name: node for node in every_node(workspace.graph)}
        self._large = bool(outsiders(workspace.source))

    def __call__(self, weight: Weight, bits: int) -> Start:
        """Raises RecipeError for bits that the grid cannot have."""
        values = np.asarray(held(self._tensors[weight.tensor]), np.float32)
        scheme, reason = self._in_blocks(self._scheme(weight, bits), weight)
        found, floor = reach(values, scheme), _bias_floor(weight, self.nodes, self._workspace)
        wide = _widened(found, scheme, floor)
        params = best_grid(values, scheme, wide)
        widened = bool(np.any(wide.high - wide.low > found.high - found.low))
        return Start(self.kept(RoundedWeight(quantize(values, params), params)), floor, widened, reason)

    def kept(self, rounded: RoundedWeight) -> RoundedWeight:
        """The same, in a file where the model is too large for memory, and its integers are a quarter of it."""
        return replace(rounded, integers=spilled(rounded.integers)) if self._large else rounded

    def _scheme(self, weight: Weight, bits: int) -> Scheme:
        wanted = weight.scheme
        if not wanted.even and bits != wanted.bits:
            kind = "a grid of floats" if wanted.steps is Steps.FLOAT8 else "a logarithmic grid"
            raise RecipeError(f"bits: {bits}; {kind} has {wanted.bits} (--weight-bits).")
        found = replace(wanted, bits=bits, axis=wanted.axis if self._per_channel else None)
        integer = any(name in self._workspace.plan.integer for name, _ in weight.readers)
        shifts = self._shifted and integer and wanted.signed and bits <= SHIFTED_BITS and wanted.steps is Steps.EVEN
        return replace(found, symmetric=False) if shifts else found

    def _in_blocks(self, scheme: Scheme, weight: Weight) -> tuple[Scheme, str]:
        """With blocks where they are asked for, or why not."""
        if self._block_size is None:
            return scheme, ""
        return in_blocks(scheme, self._block_size, weight, self.nodes, self._workspace.plan, self._workspace.backend)


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
