"""How operators that move, pick or reduce elements carry channels on: rules of ``channel_flow``."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_flow import Channels, Given, Rule, Trace
from onnxq.errors import Declined
from onnxq.graph import constant_input, is_constant, optional
from onnxq.views import carried


def only(given: Given) -> Channels:
    """The channels of the first input, the only one that may have any. Raises Declined."""
    if given[0] is None or any(channels is not None for channels in given[1:]):
        raise Declined("channels are read as a parameter")
    return given[0]


def concatenated(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    first = next(channels for channels in given if channels is not None)
    if any(c is not None and (c.axis, c.rank) != (first.axis, first.rank) for c in given):
        raise Declined("Concat joins what has its channels on different axes")
    if node.attrs["axis"] % first.rank != first.axis:
        return [_joined(trace, node, given)]
    parts = [c or _foreign(trace, tensor, first) for c, tensor in zip(given, node.inputs, strict=True)]
    return [Channels(first.axis, first.rank, np.concatenate([part.numbers for part in parts]))]


def _joined(trace: Trace, node: gs.Node, given: Given) -> Channels:
    """All that is concatenated along another axis is multiplied alike."""
    carried = [channels for channels in given if channels is not None]
    if len(carried) < len(given) or len({len(channels.numbers) for channels in carried}) > 1:
        raise Declined("they are concatenated with what cannot be multiplied")
    for channels in carried[1:]:
        trace.join(carried[0], channels)
    return carried[0]


def _foreign(trace: Trace, tensor: gs.Tensor, like: Channels) -> Channels:
    """Channels that come from elsewhere, and stay as they are."""
    size = (tensor.shape or [None] * like.rank)[like.axis]
    if not isinstance(size, int):
        raise Declined("Concat appends an unknown number of channels")
    made = trace.fresh(like.axis, like.rank, size)
    trace.fix(made, "they are concatenated with what cannot be multiplied")
    return made


def split(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    if node.attrs.get("axis", 0) % channels.rank != channels.axis:
        return [channels] * len(node.outputs)
    sizes = [(tensor.shape or [None] * channels.rank)[channels.axis] for tensor in node.outputs]
    if sum(size if isinstance(size, int) else math.inf for size in sizes) != len(channels.numbers):
        raise Declined("Split cuts the channels at places that are not known")
    parts = np.split(channels.numbers, np.cumsum(sizes)[:-1])
    return [Channels(channels.axis, channels.rank, part) for part in parts]


def sliced(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    starts, ends, axes, steps = (_vector(node, index) for index in (1, 2, 3, 4))
    if axes is None and optional(node, 3) is not None:
        raise Declined("Slice goes along axes that are computed at run time")
    if axes is None:
        axes = list(range(channels.rank if starts is None else len(starts)))
    at = [i for i, axis in enumerate(axes) if axis % channels.rank == channels.axis]
    if not at:
        return [channels]
    if optional(node, 4) is None:
        steps = [1] * len(axes)
    if starts is None or ends is None or steps is None:
        raise Declined("Slice cuts the channels at places that are computed at run time")
    start, end, step = starts[at[0]], ends[at[0]], steps[at[0]]
    last = None if step < 0 and end < -len(channels.numbers) else end  # beyond the first one, which Python cannot say
    return [Channels(channels.axis, channels.rank, channels.numbers[start:last:step])]


def gathered(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """Picks channels by a constant vector, or whatever along another axis, in whose place come those of the indices."""
    channels, indices = only(given), node.inputs[1]
    axis = node.attrs.get("axis", 0) % channels.rank
    if indices.shape is None:
        raise Declined("Gather picks by indices whose shape is not known")
    more = len(indices.shape) - 1
    if axis != channels.axis:
        return [Channels(channels.axis + more * (axis < channels.axis), channels.rank + more, channels.numbers)]
    if not is_constant(indices) or more:
        raise Declined("Gather picks channels at run time, or takes their axis apart")
    return [Channels(axis, channels.rank, channels.numbers[indices.values])]


def padded(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    mode = node.attrs.get("mode", "constant")
    if mode == "constant" and optional(node, 2) is not None and _vector(node, 2) != [0]:
        raise Declined("Pad pads with what is not zero, or is computed at run time")
    pads, axes = _vector(node, 1), _vector(node, 3)
    if pads is None or (axes is None and optional(node, 3) is not None):
        raise Declined("Pad pads by what is computed at run time")
    axes = [axis % channels.rank for axis in axes or range(channels.rank)]
    if channels.axis not in axes:
        return [channels]
    at = axes.index(channels.axis)
    before, after = pads[at], pads[at + len(axes)]
    if before == after == 0:
        return [channels]
    if mode != "constant" or before < 0 or after < 0:
        raise Declined("Pad changes the channels")
    zeros = trace.fresh(channels.axis, channels.rank, before + after).numbers  # free: any factor keeps them zero
    numbers = np.concatenate([zeros[:before], channels.numbers, zeros[before:]])
    return [Channels(channels.axis, channels.rank, numbers)]


def reduced(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    axes = _vector(node, 1) if optional(node, 1) is not None else node.attrs.get("axes", [])
    if axes is None:
        raise Declined(f"{node.op} goes along axes that are computed at run time")
    if not axes and node.attrs.get("noop_with_empty_axes", 0):
        return [channels]
    gone = {axis % channels.rank for axis in axes} or set(range(channels.rank))
    if channels.axis in gone:
        raise Declined(f"{node.op} goes along the channels")
    if node.attrs.get("keepdims", 1):
        return [channels]
    lost = sum(axis < channels.axis for axis in gone)
    return [Channels(channels.axis - lost, channels.rank - len(gone), channels.numbers)]


def resized(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    sizes = [(t.shape or [None] * channels.rank)[channels.axis] for t in (node.inputs[0], node.outputs[0])]
    cropped = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if sizes != [len(channels.numbers)] * 2 or cropped:
        raise Declined(f"{node.op} may change the channels")
    return [channels]


def deepened(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """SpaceToDepth: all channels, once for every place in a block."""
    channels = _of_images(node, given)
    return [Channels(1, 4, np.tile(channels.numbers, node.attrs["blocksize"] ** 2))]


def spread(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """DepthToSpace: the channels that become the places of a block become one."""
    channels = _of_images(node, given)
    places = node.attrs["blocksize"] ** 2
    by_place = channels.numbers.reshape(places, -1)
    if node.attrs.get("mode", "DCR") != "DCR":
        by_place = channels.numbers.reshape(-1, places).T
    parts = [Channels(1, 4, numbers) for numbers in by_place]
    for part in parts[1:]:
        trace.join(parts[0], part)
    return parts[:1]


def _of_images(node: gs.Node, given: Given) -> Channels:
    if only(given).axis != 1:
        raise Declined(f"{node.op} moves the channels elsewhere")
    return only(given)


def transposed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    order = list(node.attrs.get("perm", reversed(range(channels.rank))))
    return [Channels(order.index(channels.axis), channels.rank, channels.numbers)]


def viewed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels, before, after = only(given), node.inputs[0].shape, node.outputs[0].shape
    if before is None or after is None or not len(channels.numbers):
        raise Declined(f"{node.op} between shapes that are not known")
    axis, index = carried(before, channels.axis, len(channels.numbers), after)
    numbers = channels.numbers if len(index) == len(channels.numbers) else channels.numbers[index]
    return [Channels(axis, len(after), numbers)]


def _vector(node: gs.Node, index: int) -> list[int] | None:
    """The numbers of a constant input, None if it is missing or computed."""
    found = constant_input(node, index)
    return None if found is None else found.ravel().tolist()


MOVES: Mapping[str, Rule] = {
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), reduced),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), viewed),
    "Concat": concatenated,
    "DepthToSpace": spread,
    "Gather": gathered,
    "Pad": padded,
    "Resize": resized,
    "Slice": sliced,
    "SpaceToDepth": deepened,
    "Split": split,
    "Transpose": transposed,
}
