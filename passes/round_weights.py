"""Choose the integers of every planned weight: round to nearest on a symmetric grid that reaches the largest value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import has_bias, is_constant
from onnxq.plan import Weight
from onnxq.scheme import Range, Scheme, qparams, quantize, same_grid
from onnxq.workspace import RoundedWeight, Workspace

BIAS_LIMIT = 2.0**30  # int32, with a bit to spare for what is added to the bias


@dataclass(frozen=True)
class RoundWeights:
    """``bits`` 2 to 8, stored in int8; ``per_channel``: one scale per output channel, or one per weight."""

    bits: Literal[2, 3, 4, 5, 6, 7, 8] = 8
    per_channel: bool = True
    name: ClassVar[str] = "round_weights"

    def __call__(self, workspace: Workspace) -> bool:
        tensors = workspace.graph.tensors()
        nodes = {node.name: node for node in workspace.graph.nodes}
        before, workspace.weights = workspace.weights, {}
        for weight in workspace.plan.weights:
            values = np.asarray(tensors[weight.tensor].values, np.float32)
            scheme = self._scheme(weight.scheme)
            reach = _reach(values, scheme)
            floor = _bias_floor(weight, nodes, workspace) * scheme.highest
            wide = np.maximum(reach, floor if scheme.axis is not None else np.max(floor))
            if np.any(wide > reach):
                workspace.ledger.add(
                    "clipped", self.name, weight.tensor, "scales widened so that the bias fits 32 bits"
                )
            params = qparams(scheme, Range(-wide, wide))
            workspace.weights[weight] = RoundedWeight(quantize(values, params), params)
        return not same(workspace.weights, before)

    def _scheme(self, wanted: Scheme) -> Scheme:
        return Scheme(wanted.signed, wanted.symmetric, self.bits, wanted.axis if self.per_channel else None)


def same(some: Mapping[Weight, RoundedWeight], others: Mapping[Weight, RoundedWeight]) -> bool:
    """Whether both choose the same integers on the same grids."""
    return some.keys() == others.keys() and all(
        same_grid(rounded.params, others[weight].params) and np.array_equal(rounded.integers, others[weight].integers)
        for weight, rounded in some.items()
    )


def _reach(values: NDArray[np.float32], scheme: Scheme) -> NDArray[np.float64]:
    """The largest magnitude, per channel where the grid is.

    A channel of nothing but zeros takes that of its neighbours: any is exact for it, but not for its bias.
    """
    axes = tuple(a for a in range(values.ndim) if a != scheme.axis) if scheme.axis is not None else None
    reach = np.asarray(np.abs(values.astype(np.float64)).max(axis=axes))
    return np.where(reach > 0, reach, np.max(reach, initial=0))


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
