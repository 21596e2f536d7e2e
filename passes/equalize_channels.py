"""Cross-layer equalization: ``W2 relu(W1 x)`` becomes ``(W2 / k) relu((k W1) x)`` with a factor ``k`` per channel that
brings the channels of both weights to one range (Nagel et al. 2019, arXiv 1906.04721, sect. 4.1; white paper, sect. 3.1).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxq.channel_factor import multiply
from onnxq.channel_flow import Region, regions
from onnxq.channel_statistics import Along, channel_statistics
from onnxq.channels import Vector
from onnxq.equal_ranges import Wants, factors, read_tensors
from onnxq.graph import tidy
from onnxq.rewriting import attempt
from onnxq.workspace import TOLERANCE, Workspace

ALIKE = 1.05  # channels that are this close to one range stay as they are


@dataclass(frozen=True)
class EqualizeChannels:
    """Equalize every pair, triple and residual stream of layers."""

    rows: float = 1.0
    activations: float = 0.0
    columns: float = 1.0
    samples: int = 16
    name: ClassVar[str] = "equalize_channels"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        found = [region for region in regions(workspace.graph) if region.free]
        tensors = {
            name: Along(region.tensors[name].axis, region.tensors[name].rank)
            for region in found
            for name in read_tensors(region)
        }
        statistics = channel_statistics(workspace, tensors, self.samples) if self.activations else {}
        reaches = {name: entry.reach for name, entry in statistics.items()}
        chosen = factors(found, reaches, Wants(self.rows, self.activations, self.columns))
        done = 0
        for region, factor in zip(found, chosen, strict=True):
            if np.abs(np.log(factor)).max() > np.log(ALIKE):
                done += attempt(workspace, self.name, region.makers[0].node, equalize, workspace, region, factor)
        if done:
            tidy(workspace.graph)
            workspace.ledger.add("changed", self.name, "graph", f"{done} groups of layers share their channels' ranges")
        return done > 0


def equalize(workspace: Workspace, region: Region, factor: Vector) -> bool:
    multiply(workspace, region, factor)
    return True
