"""Layers in graph order, each with what it reads behind the layers that were solved before it.

The float and the quantized graph go over the same few samples side by side, from one level of layers to the next: those
of a level need nothing of each other. Whoever goes through the levels puts new constants into the quantized graph
before it goes on, so that what later layers read is made by them. Every node is computed once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxq.columns import Columns
from onnxq.inputs import Array
from onnxq.solving.pairs import Pairs, PairSum
from onnxq.walk import Walk, levels, side_by_side
from onnxq.workspace import Progress

KEPT_BYTES = 768 * 2**20  # of activations that wait for later layers; batches that find no room are left out


@dataclass(frozen=True)
class Reading:
    """What a layer reads, in the float graph (``wanted``) and in the quantized one (``made``); in columns, of which
    there are ``blocks``; so many in all are looked at."""

    wanted: str
    made: str
    columns: Columns
    blocks: tuple[int, ...]
    looked_at: int


Halves = tuple[Pairs, Pairs]
"""Of every other batch, and of those between."""


class Prefix:
    """Over the batches of two graphs; ``layers`` by the name of their node, which both graphs have."""

    def __init__(
        self,
        wanted: onnx.ModelProto,
        made: onnx.ModelProto,
        layers: Mapping[str, Reading],
        feeds: Sequence[Mapping[str, Array]],
        progress: Progress,
    ) -> None:
        self._layers, self._progress = layers, progress
        self._levels = levels(wanted.graph, layers.keys())
        ends = [[layers[name] for name in level] for level in self._levels]
        self._wanted = Walk(wanted, [[layer.wanted for layer in level] for level in ends], feeds)
        self._made = Walk(made, [[layer.made for layer in level] for level in ends], feeds)
        self.batches = len(feeds)

    def __iter__(self) -> Iterator[dict[str, Halves]]:
        """Of every level its layers. Raises ModelError where a part of a graph cannot run."""
        for done, level in enumerate(self._levels):
            self._progress("round weights", done, len(self._levels))
            yield self._halves({name: self._layers[name] for name in level})
        self._progress("round weights", len(self._levels), len(self._levels))

    def replace(self, constants: Mapping[str, Array]) -> None:
        """Constants of the quantized graph, by name, for the layers of this level."""
        self._made.replace(constants)

    def _halves(self, layers: Mapping[str, Reading]) -> dict[str, Halves]:
        sums = {name: (self._sum(layer), self._sum(layer)) for name, layer in layers.items()}
        for at, (wanted, made) in enumerate(side_by_side((self._wanted, self._made), KEPT_BYTES)):
            for name, layer in layers.items():
                read = (wanted[layer.wanted], made[layer.made])
                sums[name][at % 2].add(*(array.astype(np.float32, copy=False) for array in read))
        self.batches = len(self._made.kept)
        return {name: (one.kept(), other.kept()) for name, (one, other) in sums.items()}

    def _sum(self, layer: Reading) -> PairSum:
        return PairSum(layer.columns, layer.blocks, -(-layer.looked_at // self.batches))
