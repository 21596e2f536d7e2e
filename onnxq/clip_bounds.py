"""Which Clips never clip above: on all samples, by some margin, their upper bound is not reached in any channel."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_statistics import Along, channel_statistics
from onnxq.graph import is_constant
from onnxq.workspace import Workspace

MARGIN = 0.1  # of the bound: other samples reach a little further than these
FEW = 16


def upper_bound(clip: gs.Node) -> float | None:
    """The upper bound of a Clip that is a ReLU below it, or None: its lower one is 0, and both are constant."""
    bounds = [tensor for tensor in clip.inputs[1:3] if is_constant(tensor) and tensor.values.size == 1]
    if len(bounds) < 2 or float(bounds[0].values.item()) != 0:
        return None
    return float(bounds[1].values.item())


def never_reached(workspace: Workspace, clips: Sequence[gs.Node]) -> dict[str, float]:
    """By name, the largest value that those Clips read whose bound is never reached.

    Most bounds are reached by some of the first samples; only for those that are not, all samples are run.
    """
    found: dict[str, float] = {}
    left = [clip for clip in clips if upper_bound(clip) is not None and clip.inputs[0].shape is not None]
    for samples in (FEW, None):
        tensors = {clip.inputs[0].name: Along(1, len(clip.inputs[0].shape)) for clip in left}
        statistics = channel_statistics(workspace, tensors, samples)
        found = {clip.name: float(np.max(statistics[clip.inputs[0].name].high)) for clip in left}
        left = [clip for clip in left if found[clip.name] < (1 - MARGIN) * (upper_bound(clip) or 0)]
    return {clip.name: found[clip.name] for clip in left}
