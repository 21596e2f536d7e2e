"""Cross-layer equalization: ``W2 relu(W1 x)`` becomes ``(W2 / k) relu((k W1) x)`` with a factor ``k`` per channel that
brings the channels of both weights, and of the activation between, to one range (Nagel et al. 2019, arXiv 1906.04721,
sect. 4.1; white paper, sect. 3.1).

Through a Clip(0, m), as ReLU6 is exported, this is exact in two ways: samples never reach m, so that it is a ReLU; or
it becomes ``Min(relu(k x), k m)``, where every backend fuses a Min by a vector. Else the layers are left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_factor import multiply
from onnxq.channel_flow import Channels, Region, regions
from onnxq.channel_statistics import Along, channel_statistics
from onnxq.channels import Vector
from onnxq.clip_bounds import never_reached, upper_bound
from onnxq.equal_ranges import Wants, factors, read_tensors
from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, Names, tidy
from onnxq.rewriting import attempt
from onnxq.workspace import TOLERANCE, Workspace

ACTIVATIONS = 0.5


@dataclass(frozen=True)
class EqualizeChannels:
    """Equalize every pair, triple and residual stream of layers whose grids reach ``gain_db`` less far for it.

    ``per_channel``: weights have a scale per output channel, so that only what reads a channel has to be equalized;
    backends without such weights are known. ``samples``: how many tell the ranges of activations.
    """

    per_channel: bool = True
    gain_db: float = 1.0
    samples: int = 16
    name: ClassVar[str] = "equalize_channels"
    tolerance: ClassVar[float] = TOLERANCE

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is below 1")

    def __call__(self, workspace: Workspace) -> bool:
        clips = [node for node in workspace.graph.nodes if node.op == "Clip" and upper_bound(node) is not None]
        reached = never_reached(workspace, clips)
        passing = {clip.name for clip in clips} if self._bounds(workspace) else reached.keys()
        found = [r for r in regions(workspace.graph, lambda clip: clip.name in passing) if _between_layers(r)]
        reaches = _reaches(workspace, found, self.samples)
        self._tell_declined(workspace, found, reaches)
        free = [region for region in found if region.free]
        done = 0
        for region, factor in zip(free, self._factors(workspace, free, reaches), strict=True):
            if np.any(factor != 1):
                node = region.makers[0].node
                done += attempt(workspace, self.name, node, equalize, workspace, region, factor, reached)
        if done:
            tidy(workspace.graph)
            reason = f"channels brought to one range between {done} groups of layers"
            workspace.ledger.add("changed", self.name, "graph", reason)
        return done > 0

    def _rows(self, workspace: Workspace) -> bool:
        """Whether all channels that a layer makes share a scale."""
        return not self.per_channel or not all(backend.per_channel for backend in workspace.backends)

    def _bounds(self, workspace: Workspace) -> bool:
        """Whether a Clip may become a Min by a vector, and whether that gains anything."""
        return self._rows(workspace) and all(backend.fuses_min for backend in workspace.backends)

    def _factors(
        self, workspace: Workspace, found: Sequence[Region], reaches: Mapping[str, Vector]
    ) -> Sequence[Vector]:
        wants = Wants(rows=float(self._rows(workspace)), activations=ACTIVATIONS)
        return factors(found, reaches, wants, self.gain_db)

    def _tell_declined(self, workspace: Workspace, found: Sequence[Region], reaches: Mapping[str, Vector]) -> None:
        """Layers that would gain, were their channels not fixed."""
        if all(region.free for region in found):
            return
        wanted = self._factors(workspace, [replace(r, fixed=np.zeros_like(r.fixed)) for r in found], reaches)
        for region, factor in zip(found, wanted, strict=True):
            if not region.free and np.any(factor != 1):
                node, reason = region.makers[0].node, "; ".join(region.reasons[:2])
                workspace.ledger.add("declined", self.name, node.name, f"its channels stay unlike: {reason}", node.op)


def _between_layers(region: Region) -> bool:
    return all(end.node.op in HEAVY_OPS for end in region.makers)


def _reaches(workspace: Workspace, found: Sequence[Region], samples: int) -> dict[str, Vector]:
    """The largest magnitudes of what layers read, [channels], where the samples leave them finite."""
    carried = {name: region.tensors[name] for region in found for name in read_tensors(region)}
    tensors = {name: Along(channels.axis, channels.rank) for name, channels in carried.items()}
    statistics = channel_statistics(workspace, tensors, samples)
    return {name: entry.reach for name, entry in statistics.items() if entry.finite}


def equalize(workspace: Workspace, region: Region, factor: Vector, reached: Mapping[str, float]) -> bool:
    """Multiply the region's channels; the Clips between become what they are to it. Raises Declined."""
    multiply(workspace, region, factor)
    names = Names(workspace.graph)
    for node in region.through:
        if node.op == "Clip":
            bound = upper_bound(node)
            if node.name in reached:
                reason = f"its bound {bound:g} is never reached (at most {reached[node.name]:.3g}): treated as ReLU"
            else:
                _bound_each(workspace.graph, names, node, factor, region.tensors[node.outputs[0].name])
                reason = f"its bound {bound:g} became one per channel"
            node.op, node.attrs, node.inputs = "Relu", {}, [node.inputs[0]]
            workspace.ledger.add("changed", EqualizeChannels.name, node.name, reason, "Clip")
    return True


def _bound_each(graph: gs.Graph, names: Names, clip: gs.Node, factor: Vector, channels: Channels) -> None:
    """A Min by a bound for every channel behind what will be a ReLU."""
    bounds = factor[channels.numbers].reshape(-1, *[1] * (channels.from_right - 1)) * (upper_bound(clip) or 0)
    result = clip.outputs[0]
    clip.outputs[0] = gs.Variable(names.fresh(f"{result.name}/relu"), result.dtype, result.shape)
    vector = gs.Constant(names.fresh(f"{result.name}/bounds"), bounds.astype(np.float32))
    graph.nodes.append(gs.Node("Min", names.fresh(f"{clip.name}/Min"), {}, [clip.outputs[0], vector], [result]))
