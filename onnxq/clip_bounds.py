"""Which Clips never clip above: on all samples, by some margin, their upper bound is not reached in any channel."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_statistics import Along, ChannelStatistics, channel_statistics
from onnxq.graph import is_constant
from onnxq.workspace import Workspace

MARGIN = 0.1  # of the bound: other samples reach a little further than these


def upper_bound(clip: gs.Node) -> float | None:
    """The upper bound of a Clip that is a ReLU below it, infinite where it has none: its lower one is 0. None for any
    other Clip, and where the bounds are no constant float32, or the shape is not known."""
    bounds = [*clip.inputs[1:], *[gs.Variable.empty()] * 2][:2]
    given = [tensor for tensor in bounds if not tensor.is_empty()]
    if not all(is_constant(t) and t.values.dtype == np.float32 and t.values.size == 1 for t in given):
        return None
    low, high = (math.nan if t.is_empty() else float(t.values.item()) for t in bounds)
    if low != 0 or not clip.inputs[0].shape:
        return None
    return math.inf if bounds[1].is_empty() else None if math.isnan(high) else high


def clip_inputs(clips: Sequence[gs.Node]) -> dict[str, Along]:
    """What the Clips read, as ``channel_statistics`` wants it."""
    return {clip.inputs[0].name: Along(min(1, rank - 1), rank) for clip in clips if (rank := len(clip.inputs[0].shape))}


def unreached(clips: Sequence[gs.Node], statistics: Mapping[str, ChannelStatistics]) -> dict[str, float]:
    """By name the largest value that those Clips read whose bound is not reached."""
    found = {clip.name: float(np.max(statistics[clip.inputs[0].name].high)) for clip in clips}
    return {clip.name: found[clip.name] for clip in clips if found[clip.name] < (1 - MARGIN) * (upper_bound(clip) or 0)}


def never_reached(workspace: Workspace, clips: Sequence[gs.Node]) -> dict[str, float]:
    """The same, by all samples."""
    return unreached(clips, channel_statistics(workspace, clip_inputs(clips), None))
