"""``BatchNormalization(Conv(x, w, b))`` becomes ``Conv(x, w * k, b * k + s)`` and
``Conv(BatchNormalization(x), w, b)`` becomes ``Conv(x, w * k, b + sum(w * s))``
with ``k = gamma / sqrt(var + epsilon)`` and ``s = beta - mean * k`` (white paper, sect. 3.1).

The same for ConvTranspose (after only), Gemm and MatMul.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channels import Vector, output_channels, scale_input_channels, scale_output_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, bypass, sole_producer, sole_reader, tidy, values
from onnxq.normal import Normal
from onnxq.rewriting import attempt
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class FoldBatchNorm:
    """Fold every BatchNormalization that has a linear layer beside it into that layer."""

    name: ClassVar[str] = "fold_batch_norm"
    tolerance: ClassVar[float] = 1e-3

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        norms = [node for node in graph.nodes if node.op == "BatchNormalization"]
        folded = sum(attempt(workspace, self.name, norm, fold, workspace, norm) for norm in norms)
        if folded:
            tidy(graph)
            workspace.ledger.add("changed", self.name, "graph", f"{folded} batch norms folded into their layer")
        return folded > 0


def fold(workspace: Workspace, norm: gs.Node) -> bool:
    """Fold into the layer before, else into the one after. Raises Declined."""
    graph = workspace.graph
    if norm.attrs.get("training_mode", 0) or len(norm.outputs) > 1:
        raise Declined("it is in training mode")
    factor, shift = affine(norm)
    layer = sole_producer(graph, norm.inputs[0], *HEAVY_OPS)
    if layer is not None:
        if output_channels(layer) != len(factor):
            raise Declined(f"its channels are not those of {layer.name!r}")
        scale_output_channels(layer, factor, shift)
        gamma, beta = (np.asarray(norm.inputs[i].values, np.float64) for i in (1, 2))
        workspace.normals[norm.outputs[0].name] = Normal(beta, np.abs(gamma))
        bypass(graph, norm)
        return True
    layer = sole_reader(graph, norm.outputs[0])
    if layer is None or layer.op not in HEAVY_OPS or layer.inputs[0] is not norm.outputs[0]:
        raise Declined("no layer to fold into: neither its only input nor its only reader is a linear layer")
    scale_input_channels(layer, factor, shift)
    layer.inputs[0] = norm.inputs[0]
    norm.inputs.clear()
    norm.outputs.clear()
    return True


def affine(norm: gs.Node) -> tuple[Vector, Vector]:
    """``k`` and ``s``, each [channels] float64. Raises Declined."""
    gamma, beta, mean, variance = (
        values(tensor, what).astype(np.float64)
        for tensor, what in zip(norm.inputs[1:], ("scale", "bias", "mean", "variance"), strict=True)
    )
    if np.any(variance + norm.attrs.get("epsilon", 1e-5) <= 0):
        raise Declined("its variance is not positive")
    factor = gamma / np.sqrt(variance + norm.attrs.get("epsilon", 1e-5))
    return factor, beta - mean * factor
