"""Which Clips never clip above: on all samples, by some margin, their upper bound is not reached in any channel."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_statistics import Along, ChannelStatistics, channel_statistics
from onnxq.graph import constant_input, optional
from onnxq.planning.eligibility import is_float32
from onnxq.workspace import Workspace

MARGIN = 0.1  # of the bound: other samples reach a little further than these


def bounds(clip: gs.Node) -> tuple[float, float] | None:
    """The lower and the upper one, infinite where it is left out; None where one is computed, or no number."""
    found: list[float] = []
    for index, none in ((1, -math.inf), (2, math.inf)):
        given = constant_input(clip, index)
        if (given is None and optional(clip, index) is not None) or (given is not None and given.size != 1):
            return None
        found.append(none if given is None else float(given.item()))
    return None if any(math.isnan(bound) for bound in found) else (found[0], found[1])


def upper_bound(clip: gs.Node) -> float | None:
    """The upper bound of a Clip that is a ReLU below it, infinite where it has none: its lower one is 0. None for any
    other Clip, and where what it reads is no float32 of known shape."""
    found, read = bounds(clip), clip.inputs[0]
    return found[1] if found is not None and found[0] == 0 and is_float32(read) and read.shape else None


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
