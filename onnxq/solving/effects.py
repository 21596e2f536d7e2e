"""What the rounding of each layer's weights does to the outputs of the network, by the number of bits.

Of layer ``i`` with ``b`` bits it is ``F_i E_i(b)``. ``E_i(b) = tr((W - Q) H (W - Q)^T)`` is the exact error of what the
layer makes (see ``second_moments``), for every width. ``F_i``, how far such an error gets, is measured at one width:
the noise of the outputs over ``E_i``, when nothing but this layer is rounded.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, every_node, layout
from onnxq.moment_turns import collect_moments
from onnxq.plan import Weight
from onnxq.second_moments import Moments
from onnxq.solving.output_noise import OutputNoise
from onnxq.weight_matrix import as_matrix
from onnxq.workspace import Workspace

Reals = NDArray[np.float32]
Known = Mapping[str, Moments]
"""The moments, by name, of what the layers that have a weight read; a table of embeddings or a recurrent layer has
none."""
Rounded = Callable[[Weight, int, Known], Reals]
"""A weight with so many bits: what its integers stand for, in its shape."""


@dataclass(frozen=True)
class Effects:
    """Of a ``weight`` of ``size`` values: error over signal in power that it brings to the outputs, by its bits."""

    weight: Weight
    size: int
    by_bits: Mapping[int, float]


def effects(
    workspace: Workspace, weights: Sequence[Weight], choices: Sequence[int], near: float, rounded: Rounded, limit: int
) -> Iterator[Effects]:
    """Of weights that are constants of the graph itself, with each of the bits in ``choices`` that the backend has,
    looked at with about ``near`` bits; moments take ``limit`` bytes. Raises RecipeError where no output tells."""
    if not weights:
        return
    tensors, nodes = workspace.graph.tensors(), {node.name: node for node in every_node(workspace.graph)}
    noise = OutputNoise(workspace, [weight.tensor for weight in weights])
    for done, (weight, known) in enumerate(_with_moments(workspace, weights, nodes, limit)):
        workspace.progress("weigh layers", done, len(weights))
        values = np.asarray(tensors[weight.tensor].values, np.float32)
        allowed = [bits for bits in choices if bits <= weight.scheme.bits] or choices[:1]
        looked_at = min(allowed, key=lambda bits: abs(bits - near))
        reals = {bits: rounded(weight, bits, known) for bits in allowed}
        errors = {bits: _error(values - found, known, nodes) for bits, found in reals.items()}
        heard = noise({weight.tensor: reals[looked_at]}) if errors[looked_at] else 0.0
        if not math.isfinite(heard):
            reason = "on the samples no float output is finite, of one shape, and not zero"
            raise RecipeError(
                f"bits: what {looked_at} bits in {weight.tensor!r} do to the outputs cannot be measured: {reason}. "
                "Give bits without a budget."
            )
        factor = heard / errors[looked_at] if heard else 0.0
        yield Effects(weight, values.size, {bits: factor * error for bits, error in errors.items()})
    workspace.progress("weigh layers", len(weights), len(weights))


def _with_moments(
    workspace: Workspace, weights: Sequence[Weight], nodes: Mapping[str, gs.Node], limit: int
) -> Iterator[tuple[Weight, Known]]:
    """Every weight once all the layers that have it have their moments; those of which none has any come last."""
    waiting = {weight: {name for name, index in weight.readers if _is_layer(nodes[name], index)} for weight in weights}
    known: dict[Weight, dict[str, Moments]] = {weight: {} for weight in weights}
    for name, moments in collect_moments(workspace, frozenset().union(*waiting.values()), limit):
        for weight in [one for one, names in waiting.items() if name in names]:
            known[weight][name] = moments
            if known[weight].keys() == waiting[weight]:
                yield weight, known.pop(weight)
    yield from known.items()


def _is_layer(node: gs.Node, index: int) -> bool:
    where = layout(node) if node.op in HEAVY_OPS else None
    return where is not None and where.index == index


def _error(difference: Reals, known: Known, nodes: Mapping[str, gs.Node]) -> float:
    """Of what the layers make, a column; without moments, of the weight itself."""
    if not known:
        return float(np.sum(np.square(difference, dtype=np.float64)))
    return sum(
        float(moments.error(as_matrix(nodes[name], difference)).sum()) / max(moments.columns, 1)
        for name, moments in known.items()
    )
