"""Cross-layer equalization: ``W2 relu(W1 x)`` becomes ``(W2 / k) relu((k W1) x)`` with a factor ``k`` per channel that
brings the channels of both weights, and of the activation between, to one range (Nagel et al. 2019, arXiv 1906.04721,
sect. 4.1; white paper, sect. 3.1).

Through a Clip(0, m), as ReLU6 is exported, this is exact in two ways: samples never reach m, so that it is a ReLU; or
it becomes ``Min(relu(k x), k m)``, where every backend fuses a Min by a vector. Else the layers are left alone.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.channel_factor import multiply
from onnxq.channel_flow import Channels, Region, regions
from onnxq.channel_statistics import Along, channel_statistics
from onnxq.clip_bounds import clip_inputs, never_reached, unreached, upper_bound
from onnxq.equal_ranges import factors, read_tensors
from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, Names
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class EqualizeChannels:
    """Equalize every pair, triple and residual stream of layers whose grids reach ``gain_db`` less far for it.

    ``per_channel``: weights have a scale per output channel; nothing is done then, unless a backend has none such.
    ``samples``: how many tell the ranges of activations.
    """

    per_channel: bool = False
    gain_db: float = 1.0
    samples: int = 16
    name: ClassVar[str] = "equalize_channels"
    sampled: ClassVar[bool] = True
    tolerance: ClassVar[float] = TOLERANCE

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is below 1")

    def __call__(self, workspace: Workspace) -> bool:
        if self.per_channel and all(backend.per_channel for backend in workspace.backends):
            return False  # what activations alone would gain, balance_activations measures
        graph = workspace.graph
        clips = {node.name: node for node in graph.nodes if node.op == "Clip" and upper_bound(node) is not None}
        every = _regions(graph, clips)
        reaches, reached = _measured(workspace, every, list(clips.values()), self.samples)
        chosen, reached = self._decided(workspace, clips, reaches, reached)
        passing = clips if _bounds(workspace) else reached
        self._tell_declined(workspace, every, passing, reaches)
        done = 0
        for region, factor in chosen:
            node = region.makers[0].node
            done += attempt(workspace, self.name, node, equalize, workspace, region, factor, reached)
        return concluded(workspace, self.name, done, f"channels brought to one range between {done} groups of layers")

    def _decided(
        self,
        workspace: Workspace,
        clips: Mapping[str, gs.Node],
        reaches: Mapping[str, Vector],
        few: Mapping[str, float],
    ) -> tuple[list[tuple[Region, Vector]], dict[str, float]]:
        """The regions that gain with their factors, and the Clips that never clip: ``few`` samples say so of some, and
        of those that matter all are asked."""
        reached, proven = dict(few), set[str]()
        while True:
            passing = clips if _bounds(workspace) else reached
            chosen = self._chosen(workspace, _regions(workspace.graph, passing), reaches)
            matter = [node.name for region, _ in chosen for node in region.through if node.name in reached]
            asked = [name for name in matter if name not in proven]
            if not asked:
                return chosen, reached
            seen = never_reached(workspace, [clips[name] for name in asked])
            reached = {name: most for name, most in {**reached, **seen}.items() if name not in asked or name in seen}
            proven.update(asked)

    def _chosen(
        self, workspace: Workspace, found: Sequence[Region], reaches: Mapping[str, Vector]
    ) -> list[tuple[Region, Vector]]:
        """Regions that gain, and what their channels are multiplied by."""
        barred = {node for step, node in workspace.barred if step == self.name}
        free = [region for region in found if region.free and region.makers[0].node.name not in barred]
        solved = zip(free, factors(free, reaches, self.gain_db), strict=True)
        return [(region, factor) for region, factor in solved if np.any(factor != 1)]

    def _tell_declined(
        self, workspace: Workspace, every: Sequence[Region], passing: Container[str], reaches: Mapping[str, Vector]
    ) -> None:
        """Regions that would gain, were their channels not fixed."""
        reasons = {region.makers[0].node.name: _reasons(region, passing) for region in every}
        if not any(reasons.values()):
            return
        for region, _ in self._chosen(workspace, [replace(r, fixed=np.zeros_like(r.fixed)) for r in every], reaches):
            node = region.makers[0].node
            if reasons[node.name]:
                reason = f"its channels stay unlike: {'; '.join(reasons[node.name][:2])}"
                workspace.ledger.add("declined", self.name, node.name, reason, node.op)


def _bounds(workspace: Workspace) -> bool:
    """Whether a Clip may become a Min by a vector."""
    return all(backend.fuses_min for backend in workspace.backends)


def _regions(graph: gs.Graph, passing: Container[str]) -> list[Region]:
    """Those between linear layers, where the Clips of these names clip nothing."""
    found = regions(graph, lambda clip: clip.name in passing)
    return [region for region in found if all(end.node.op in HEAVY_OPS for end in region.makers)]


def _reasons(region: Region, passing: Container[str]) -> list[str]:
    """Why the region stays as it is."""
    clips = [node for node in region.through if node.op == "Clip" and node.name not in passing]
    bounded = [f"a Clip bounds them all at {upper_bound(clips[0]):g}"] if clips else []
    return [*bounded, *(() if region.free else region.reasons)]


def _measured(
    workspace: Workspace, found: Sequence[Region], clips: Sequence[gs.Node], samples: int
) -> tuple[dict[str, Vector], dict[str, float]]:
    """By the first samples: the largest magnitudes of what layers read, [channels], where they are finite, and the
    largest values that those Clips read whose bound is not reached."""
    carried = {name: region.tensors[name] for region in found for name in read_tensors(region)}
    read = {name: Along(channels.axis, channels.rank) for name, channels in carried.items()}
    statistics = channel_statistics(workspace, {**clip_inputs(clips), **read}, samples)
    reaches = {name: statistics[name].reach for name in read if statistics[name].finite}
    return reaches, unreached(clips, statistics)


def equalize(workspace: Workspace, region: Region, factor: Vector, reached: Mapping[str, float]) -> bool:
    """Multiply the region's channels; the Clips between become what they are to it. Raises Declined."""
    multiply(workspace, region, factor)
    for node in region.through:
        if node.op == "Clip":
            bound = upper_bound(node)
            if bound == np.inf:
                reason = "it has no upper bound: treated as ReLU"
            elif node.name in reached:
                reason = f"its bound {bound:g} is never reached (at most {reached[node.name]:.3g}): treated as ReLU"
            else:
                _bound_each(workspace.graph, node, factor, region.tensors[node.outputs[0].name])
                reason = f"its bound {bound:g} became one per channel"
            node.op, node.attrs, node.inputs = "Relu", {}, [node.inputs[0]]
            workspace.ledger.add("changed", EqualizeChannels.name, node.name, reason, "Clip")
    return True


def _bound_each(graph: gs.Graph, clip: gs.Node, factor: Vector, channels: Channels) -> None:
    """A Min by a bound for every channel behind what will be a ReLU."""
    names = Names(graph)
    bounds = factor[channels.numbers].reshape(-1, *[1] * (channels.from_right - 1)) * (upper_bound(clip) or 0)
    result = clip.outputs[0]
    clip.outputs[0] = gs.Variable(names.fresh(f"{result.name}/relu"), result.dtype, result.shape)
    vector = gs.Constant(names.fresh(f"{result.name}/bounds"), bounds.astype(np.float32))
    graph.nodes.append(gs.Node("Min", names.fresh(f"{clip.name}/Min"), {}, [clip.outputs[0], vector], [result]))
