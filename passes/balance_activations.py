"""Channels of an activation that share one grid are brought to ranges as like as its readers' weights bear: ``W x``
becomes ``(W / k) (k x)`` with a factor ``k`` for every channel.

One grid serves all channels of an activation, so a quiet channel beside a loud one is left with few integers. A factor
gives it more, and the layers that read it take it back in their weights, which then need more of their own: a depthwise
convolution nothing, with a scale for every channel, others as much as is measured (``balance_strength.py``). What makes
the channels takes the factor itself where it can: norms (SmoothQuant, arXiv 2211.10438), and layers, also through ReLU.
Behind SiLU, GELU and the like one Mul stays, which has to gain more: OpenVINO and TensorRT fuse it into the layer
before, onnxruntime does not. With such a Mul channels that reach further below zero than above are turned, where a grid
with a zero point gains by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.arrays import Vector
from onnxq.balance_groups import Group, Reading, groups
from onnxq.balance_strength import choose, hoped_db, turned
from onnxq.channel_factor import multiply
from onnxq.channel_statistics import Along, ChannelStatistics, channel_statistics
from onnxq.channels import scale_input_channels
from onnxq.errors import RecipeError
from onnxq.graph import HEAVY_OPS, Names, producer
from onnxq.kept_samples import Array, Window, keep
from onnxq.layer_error import Grids, LayerError
from onnxq.normalise import opset
from onnxq.planning.activation_bits import activation_widths, at_bits
from onnxq.rewriting import attempt, concluded
from onnxq.scheme import Steps
from onnxq.workspace import TOLERANCE, Workspace

FREE_DB = 1.0  # where a norm takes the factor, or a Mul on an input of the model, which joins its quantizer
LAYER_DB = 3.0  # where layers take it: what they gain less is lost among the errors of their many neighbours
SOLVED = 0.1  # of the error of weights, in power, is what solvers leave of rounding to nearest with 8 bits


@dataclass(frozen=True)
class BalanceActivations:
    """Balance where the layers' error falls by at least ``gain_db`` (a bit is 6) with a Mul, or ``FREE_DB`` where
    what is before takes the factor. ``samples``: how many are looked at. ``bits`` (None as the backends have it) and
    ``per_channel``: of weights, and whether they will be ``solved``; ``activation_bits``: of activations, as ``plan``
    will have them."""

    gain_db: float = 5.0
    samples: int = 16
    bits: Literal[2, 3, 4, 5, 6, 7, 8] | None = None
    per_channel: bool = True
    solved: bool = False
    activation_bits: int | None = None
    name: ClassVar[str] = "balance_activations"
    sampled: ClassVar[bool] = True
    tolerance: ClassVar[float] = TOLERANCE

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise RecipeError(f"samples: {self.samples} is below 1")
        activation_widths(self.activation_bits)

    def __call__(self, workspace: Workspace) -> bool:
        grids = self._grids(workspace)
        found = groups(workspace.graph, makers_pay=any(entry.weight.axis is None for entry in grids))
        seen = channel_statistics(workspace, _read(found), self.samples)
        reaches = {name: channels.reach for name, channels in seen.items()}
        promising = [group for group in found if self._promises(workspace, group, reaches)]
        cuts = {reading.tensor: _window(reading) for group in promising for reading in group.readings}
        kept = keep(workspace, cuts, self.samples)
        chosen = [(group, *self._chosen(workspace, group, seen, kept, grids)) for group in promising]
        names = Names(workspace.graph)
        taken: list[float] = []
        stay: list[float] = []
        for group, factor, gained in chosen:
            if gained > 0 and attempt(workspace, self.name, group.first, apply, workspace, names, group, factor):
                (stay if group.region is None else taken).append(gained)
        return concluded(workspace, self.name, len(taken) + len(stay), _told(taken, stay))

    def _grids(self, workspace: Workspace) -> list[Grids]:
        """Those that the backends have, each once."""
        found: dict[Grids, None] = {}
        for backend in workspace.backends:
            bits = self.bits if self.bits and backend.weight.steps is not Steps.LOGARITHMIC else backend.weight.bits
            axis = 0 if self.per_channel and backend.per_channel else None
            activation = at_bits(backend.activation, backend, self.activation_bits)
            found[Grids(activation, replace(backend.weight, bits=bits, axis=axis))] = None
        return list(found)

    def _promises(self, workspace: Workspace, group: Group, reaches: Mapping[str, Vector]) -> bool:
        """Whether the ranges of its channels are so unlike that measuring is worth it."""
        integer = {op for backend in workspace.backends for op in backend.rules}
        if not any(layer.op in integer for reading in group.readings for layer in reading.layers):
            return False
        for reading in group.readings:
            if not np.isfinite(reaches[reading.tensor]).all():
                reason = f"the samples make its activation {reading.tensor!r} infinite or NaN"
                workspace.ledger.add("declined", self.name, group.first.name, reason, group.first.op)
                return False
        return _is_input(group) or hoped_db(group, reaches) >= self._least(group)

    def _least(self, group: Group) -> float:
        """What balancing has to gain, in dB."""
        if group.region is not None:
            return LAYER_DB if any(end.node.op in HEAVY_OPS for end in group.region.makers) else FREE_DB
        return FREE_DB if _is_input(group) else self.gain_db

    def _chosen(
        self,
        workspace: Workspace,
        group: Group,
        seen: Mapping[str, ChannelStatistics],
        kept: Mapping[str, Array],
        grids: Sequence[Grids],
    ) -> tuple[Vector, float]:
        """The factors of its channels, and how many dB they gain."""
        left = SOLVED if self.solved else 1.0
        errors = [
            (reading, LayerError(reading.layers, kept[reading.tensor], opset(workspace.source), grids, left))
            for reading in group.readings
        ]

        def error(factor: Vector) -> Vector:
            return np.asarray(np.sum([measure(factor[reading.channels]) for reading, measure in errors], axis=0))

        reaches = {reading.tensor: seen[reading.tensor].reach for reading in group.readings}
        factor, gained = choose(group, reaches, error, self._least(group), FREE_DB)
        if gained > 0 and group.region is None:
            return turned(factor, gained, seen[group.readings[0].tensor], error, FREE_DB)
        return factor, gained


def apply(workspace: Workspace, names: Names, group: Group, factor: Vector) -> bool:
    """Let the group's layers read channels times ``factor``. Raises Declined."""
    if group.region is not None:
        multiply(workspace, group.region, factor)
        return True
    (reading,) = group.readings
    source = reading.layers[0].inputs[0]
    result = gs.Variable(names.fresh(f"{source.name}/balanced"), np.float32, source.shape)
    shape = [-1 if axis == reading.along.axis else 1 for axis in range(reading.along.rank)]
    constant = gs.Constant(names.fresh(f"{source.name}/balance"), factor.astype(np.float32).reshape(shape))
    for node in reading.layers:
        scale_input_channels(node, 1 / factor, np.zeros(len(factor)), workspace.graph)
        node.inputs[0] = result
    nodes = workspace.graph.nodes
    nodes.append(gs.Node("Mul", names.fresh(f"{source.name}/Balance"), {}, [source, constant], [result]))
    if source.name in workspace.normals:
        workspace.normals[result.name] = workspace.normals[source.name].scaled(factor)
    return True


def _read(found: Sequence[Group]) -> dict[str, Along]:
    """What the layers of the groups read, and where its channels lie."""
    return {reading.tensor: reading.along for group in found for reading in group.readings}


def _is_input(group: Group) -> bool:
    """Whether the activation is an input of the model. Samples such as pixels lie on grids of their own."""
    return group.region is None and producer(group.first.inputs[0]) is None


def _window(reading: Reading) -> Window | None:
    """The least sizes of a window that every layer can read; None for what is read in rows."""
    if reading.layers[0].op not in ("Conv", "ConvTranspose"):
        return None
    sizes = [
        (np.array(node.inputs[1].shape[2:]) - 1) * np.array(node.attrs.get("dilations", 1)) + 1
        for node in reading.layers
    ]
    return tuple(int(size) for size in np.max(sizes, axis=0))


def _told(taken: Sequence[float], stay: Sequence[float]) -> str:
    parts = []
    if taken:
        parts.append(f"{len(taken)} in what makes them ({np.mean(taken):.1f} dB less error on average)")
    if stay:
        parts.append(f"{len(stay)} by a Mul ({np.mean(stay):.1f} dB)")
    return f"the channels of activations were brought to like ranges: {', '.join(parts)}"
