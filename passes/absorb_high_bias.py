"""``W2 relu(W1 x + b1) + b2`` becomes ``W2 relu(W1 x + b1 - c) + (b2 + W2 c)`` for channels that never fall below
c > 0: there ``relu(y) = relu(y - c) + c``, and the activation reaches less far (Nagel et al. 2019, arXiv 1906.04721,
sect. 4.1.3; white paper, sect. 3.1). Equalization makes such channels by raising biases.

``c = mean - 3 std`` where a batch norm told these, and else the least value that any sample gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.arrays import Vector
from onnxq.channel_factor import whole
from onnxq.channel_flow import Channels, Region, regions
from onnxq.channel_statistics import Along, channel_statistics
from onnxq.channels import scale_input_channels, scale_output_channels
from onnxq.graph import HEAVY_OPS
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace

ACTIVATIONS = ("Relu", "LeakyRelu", "PRelu")  # what is positive passes them as it is
SHIFTED = frozenset(  # f(x + c) = f(x) + c for a shift of whole channels
    {
        *(*ACTIVATIONS, "Add"),  # of a constant: sums of two tensors are excluded as joined
        *("AveragePool", "Concat", "Dropout", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
SPREADS = 3.0
LEAST = 0.01  # of how far the activation reaches: less is not worth a rewrite
FEW = 16


@dataclass(frozen=True)
class AbsorbHighBias:
    """Move high biases behind the activation function, wherever layers, a ReLU and what moves values between allow."""

    name: ClassVar[str] = "absorb_high_bias"
    sampled: ClassVar[bool] = True
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        found = [region for region in regions(workspace.graph) if _absorbs(region)]
        shifts = _shifts(workspace, found)
        done = 0
        for at, shift in shifts.items():
            done += attempt(workspace, self.name, found[at].makers[0].node, absorb, workspace, found[at], shift)
        told = f"high biases of {done} layers moved behind their activation function"
        return concluded(workspace, self.name, done, told)


def _absorbs(region: Region) -> bool:
    ops = {node.op for node in region.through}
    padded = any(any(node.attrs.get("pads", ())) or "auto_pad" in node.attrs for node in region.through)
    layers = all(end.node.op in HEAVY_OPS for end in region.makers)
    return region.free and layers and bool(_activated(region)) and ops <= SHIFTED and not region.joined and not padded


def _shifts(workspace: Workspace, found: Sequence[Region]) -> dict[int, Vector]:
    """By region, what may be taken from each of its channels; only of regions where that is anything."""
    lows, reaches = _lows(workspace, found, FEW)
    some = [at for at, region in enumerate(found) if _worth(region, lows[at], reaches[at])]
    unknown = [at for at in some if not _told(workspace, found[at])]
    if unknown:  # the least of all samples, where a few leave anything to take
        again, _ = _lows(workspace, [found[at] for at in unknown], None)
        lows = {**lows, **dict(zip(unknown, again.values(), strict=True))}
    return {at: lows[at] for at in some if _worth(found[at], lows[at], reaches[at])}


def _worth(region: Region, low: Vector, reach: Vector) -> bool:
    return bool(np.any(low > LEAST * reach.max(initial=0)))


def _told(workspace: Workspace, region: Region) -> bool:
    return all(name in workspace.normals for name in _activated(region))


def _activated(region: Region) -> dict[str, Channels]:
    """What the activation functions of the region read."""
    names = [node.inputs[0].name for node in region.through if node.op in ACTIVATIONS]
    return {name: region.tensors[name] for name in names}


def _lows(
    workspace: Workspace, found: Sequence[Region], samples: int | None
) -> tuple[dict[int, Vector], dict[int, Vector]]:
    """By region, what its channels do not fall below (0 where they do), and how far they reach, before activation."""
    read = {name: channels for region in found for name, channels in _activated(region).items()}
    alongs = {name: Along(channels.axis, channels.rank) for name, channels in read.items()}
    statistics = channel_statistics(workspace, alongs, samples)
    lows, reaches = {}, {}
    for at, region in enumerate(found):
        low, reach = np.full(region.count, np.inf), np.zeros(region.count)
        for name, channels in _activated(region).items():
            normal, seen = workspace.normals.get(name), statistics[name]
            least = seen.low if normal is None else normal.mean - SPREADS * normal.std
            np.minimum.at(low, channels.numbers, np.where(np.isfinite(least), least, 0))
            np.maximum.at(reach, channels.numbers, seen.reach)
        known = np.isfinite(low) & ~region.fixed
        lows[at], reaches[at] = np.where(known, np.maximum(low, 0), 0), reach
    return lows, reaches


def absorb(workspace: Workspace, region: Region, shift: Vector) -> bool:
    """Take ``shift`` [channels] from what the region's makers make, and give it to the biases of its takers."""
    makers, takers = ([end for end in ends if np.any(shift[end.channels])] for ends in (region.makers, region.takers))
    with whole([end.node for end in (*makers, *takers)]):
        for end in makers:
            scale_output_channels(end.node, np.ones(len(end.channels)), -shift[end.channels], workspace.graph)
        for end in takers:
            scale_input_channels(end.node, np.ones(len(end.channels)), shift[end.channels], workspace.graph)
    for name, channels in _activated(region).items():
        if name in workspace.normals:
            workspace.normals[name] = workspace.normals[name].shifted(-shift[channels.numbers])
    return True
