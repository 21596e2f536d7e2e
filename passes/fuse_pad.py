"""``Conv(Pad(x))`` becomes ``Conv<pads=...>(x)``, where zeros are padded along spatial axes.

AveragePool the same, which then counts what it pads, as it counted the zeros; and MaxPool, which pads by what is less
than every number, where none of ``x`` is below 0 and every window sees some of ``x``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import is_constant, is_output, optional, producer, readers, skip, values
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace

POOLS = ("AveragePool", "MaxPool")
Pads = list[int]
"""The begins of the spatial axes, then their ends."""


@dataclass(frozen=True)
class FusePad:
    """Fuse every Pad that only convolutions and pools read into them."""

    name: ClassVar[str] = "fuse_pad"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        pads = [node for node in reversed(graph.nodes) if node.op == "Pad"]
        fused = sum(attempt(workspace, self.name, node, fuse, graph, node) for node in pads)
        told = f"{fused} Pad fused into the convolutions and pools that read them"
        return concluded(workspace, self.name, fused, told)


def fuse(graph: gs.Graph, pad: gs.Node) -> bool:
    """Whether convolutions and pools, and nothing else, read it, and pad themselves now. Raises Declined."""
    behind = [node for node, index in readers(pad.outputs[0]) if index == 0 and any(node is n for n in graph.nodes)]
    if not behind or any(node.op not in ("Conv", *POOLS) for node in behind):
        return False
    if len(behind) != len(readers(pad.outputs[0])) or is_output(graph, pad.outputs[0]):
        return False
    added = spatial_pads(pad)
    together = [_together(node, added, not_negative(pad.inputs[0])) for node in behind]
    for node, pads in zip(behind, together, strict=True):
        node.attrs["pads"] = pads
        node.attrs.pop("auto_pad", None)
        if node.op == "AveragePool":
            node.attrs["count_include_pad"] = 1
    skip(graph, pad)
    return True


def spatial_pads(pad: gs.Node) -> Pads:
    """Raises Declined where it pads by anything but zeros, or along the batch or the channels."""
    if pad.attrs.get("mode", "constant") != "constant":
        raise Declined(f"it pads by {pad.attrs['mode']}, not by zeros")
    if (value := optional(pad, 2)) is not None and np.any(values(value, "value") != 0):
        raise Declined("it pads by a number that is not zero")
    found = values(pad.inputs[1], "width").astype(int)
    axes: Sequence[int] = range(len(found) // 2)
    shape = pad.inputs[0].shape
    if (along := optional(pad, 3)) is not None:
        if shape is None:
            raise Declined("the rank of what it pads is not known")
        axes = [int(axis) % len(shape) for axis in values(along, "axes")]
        pads = np.zeros((2, len(shape)), int)
    else:
        pads = np.zeros((2, len(found) // 2), int)
    pads[:, axes] = found.reshape(2, -1)
    if pads[:, :2].any():
        raise Declined("it pads the batch or the channels")
    if (pads < 0).any():
        raise Declined("it cuts off instead of padding")
    return [int(width) for width in pads[:, 2:].ravel()]


def not_negative(tensor: gs.Tensor) -> bool:
    """Whether the operator that makes the tensor makes nothing below 0."""
    maker = producer(tensor)
    if maker is not None and maker.op == "Clip":
        return len(maker.inputs) > 1 and is_constant(maker.inputs[1]) and bool(np.all(maker.inputs[1].values >= 0))
    return maker is not None and maker.op in ("Relu", "Sigmoid", "Softmax", "HardSigmoid")


def _together(node: gs.Node, added: Pads, positive: bool) -> Pads:
    """The pads of a layer with what was padded before it. Raises Declined."""
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        raise Declined(f"{node.name!r} pads by its own rule ({auto})")
    own = list(node.attrs.get("pads") or [0] * len(added)) if auto == "NOTSET" else [0] * len(added)
    both = [mine + more for mine, more in zip(own, added, strict=True)]
    if node.op not in POOLS:
        return both
    if node.attrs.get("ceil_mode", 0) or any(d != 1 for d in node.attrs.get("dilations", [])):
        raise Declined(f"{node.name!r} has windows that reach over the end, or gaps in them")
    if any(width >= size for width, size in zip(both, list(node.attrs["kernel_shape"]) * 2, strict=True)):
        raise Declined(f"{node.name!r} would have windows in its padding alone")
    if node.op == "MaxPool" and not positive:
        raise Declined(f"{node.name!r} would not see the zeros, and what is padded may be below them")
    if node.op == "AveragePool" and any(own) and not node.attrs.get("count_include_pad", 0):
        raise Declined(f"{node.name!r} does not count what it pads itself")
    return both
