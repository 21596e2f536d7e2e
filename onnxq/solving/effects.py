"""What the rounding of each layer's weights does to the outputs of the network, by the number of bits.

Of layer ``i`` with ``b`` bits it is measured: the noise of the outputs when nothing but this layer is rounded. Where it
is not, it is ``F_i E_i(b)``. ``E_i(b) = tr((W - Q) H (W - Q)^T)`` is the exact error of what the layer makes (see
``second_moments``), known for every width; ``F_i``, how far such an error gets, is what was measured over ``E_i`` at
the nearest width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import HEAVY_OPS, every_node, layout
from onnxq.moment_turns import collect_moments
from onnxq.plan import Weight
from onnxq.scheme import dequantize
from onnxq.second_moments import Moments
from onnxq.weight_matrix import as_matrix
from onnxq.workspace import RoundedWeight, Workspace

SAMPLES = 64  # for moments: widths are compared by them, and more positions of each sample are looked at

Known = Mapping[str, Moments]
"""The moments, by name, of what the layers that have a weight read; a table of embeddings or a recurrent layer has
none."""
Rounded = Callable[[Weight, int, Known], RoundedWeight]
"""A weight with so many bits."""


@dataclass
class Effect:
    """Of a ``weight`` of ``size`` values, by its bits: the integers, ``E``, and the noise where it was ``measured``."""

    weight: Weight
    size: int
    rounded: Mapping[int, RoundedWeight]
    errors: Mapping[int, float]
    measured: dict[int, float] = field(default_factory=dict)

    def values(self, bits: int) -> NDArray[np.float32]:
        """What stands in its place."""
        return dequantize(self.rounded[bits].integers, self.rounded[bits].params)

    def nearest(self, bits: float) -> int:
        """The width next to it."""
        return min(self.rounded, key=lambda width: abs(width - bits))

    def measure(self, bits: int, noise: Callable[[Mapping[str, NDArray[np.float32]]], float]) -> float:
        """Its noise with so many bits, which is known from now on."""
        if bits not in self.measured:
            exact = not self.errors[bits]
            self.measured[bits] = 0.0 if exact else noise({self.weight.tensor: self.values(bits)})
        return self.measured[bits]

    def by_bits(self) -> dict[int, float]:
        """Error over signal in power that it brings to the outputs. One width at least was measured."""
        return {bits: self._noise(bits) for bits in self.rounded}

    def _noise(self, bits: int) -> float:
        if bits in self.measured:
            return self.measured[bits]
        near = min(self.measured, key=lambda width: abs(width - bits))
        return self.measured[near] * self.errors[bits] / self.errors[near] if self.errors[near] else 0.0


def effects(
    workspace: Workspace, weights: Sequence[Weight], choices: Sequence[int], rounded: Rounded, limit: int
) -> Iterator[Effect]:
    """Of weights that are constants of the graph itself, with each of the bits in ``choices`` that the backend has,
    not yet measured; moments take ``limit`` bytes."""
    tensors, nodes = workspace.graph.tensors(), {node.name: node for node in every_node(workspace.graph)}
    for weight, known in _with_moments(workspace, weights, nodes, limit):
        values = np.asarray(tensors[weight.tensor].values, np.float32)
        allowed = [bits for bits in choices if bits <= weight.scheme.bits] or choices[:1]
        found = {bits: rounded(weight, bits, known) for bits in allowed}
        errors = {
            bits: _error(values - dequantize(one.integers, one.params), known, nodes) for bits, one in found.items()
        }
        yield Effect(weight, values.size, found, errors)


def _with_moments(
    workspace: Workspace, weights: Sequence[Weight], nodes: Mapping[str, gs.Node], limit: int
) -> Iterator[tuple[Weight, Known]]:
    """Every weight once all the layers that have it have their moments; those of which none has any come last."""
    waiting = {weight: {name for name, index in weight.readers if _is_layer(nodes[name], index)} for weight in weights}
    known: dict[Weight, dict[str, Moments]] = {weight: {} for weight in weights}
    some = replace(workspace, samples=workspace.samples.take(SAMPLES), kept={})
    for name, moments in collect_moments(some, frozenset().union(*waiting.values()), limit):
        for weight in [one for one, names in waiting.items() if name in names]:
            known[weight][name] = moments
            if known[weight].keys() == waiting[weight]:
                yield weight, known.pop(weight)
    yield from known.items()


def _is_layer(node: gs.Node, index: int) -> bool:
    where = layout(node) if node.op in HEAVY_OPS else None
    return where is not None and where.index == index


def _error(difference: NDArray[np.float32], known: Known, nodes: Mapping[str, gs.Node]) -> float:
    """Of what the layers make, a column; without moments, of the weight itself."""
    if not known:
        return float(np.sum(np.square(difference, dtype=np.float64)))
    return sum(
        float(moments.error(as_matrix(nodes[name], difference)).sum()) / max(moments.columns, 1)
        for name, moments in known.items()
    )
