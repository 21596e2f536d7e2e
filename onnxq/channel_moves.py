"""How operators that move, pick or reduce elements carry channels on: rules of ``channel_flow``."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_flow import Channels, Given, Rule, Trace
from onnxq.errors import Declined
from onnxq.graph import is_constant


def only(given: Given) -> Channels:
    """The channels of the first input, the only one that may have any. Raises Declined."""
    if given[0] is None or any(channels is not None for channels in given[1:]):
        raise Declined("channels are read as a parameter")
    return given[0]


def concatenated(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    first = next(channels for channels in given if channels is not None)
    if any(c is not None and (c.axis, c.rank) != (first.axis, first.rank) for c in given):
        raise Declined("Concat joins what has its channels on different axes")
    if axis_of(node.attrs["axis"], first.rank) != first.axis:
        return [_joined(trace, node, given)]
    parts = [c or _foreign(trace, tensor, first) for c, tensor in zip(given, node.inputs, strict=True)]
    return [Channels(first.axis, first.rank, np.concatenate([part.numbers for part in parts]))]


def _joined(trace: Trace, node: gs.Node, given: Given) -> Channels:
    """All that is concatenated along another axis is multiplied alike."""
    carried = [channels for channels in given if channels is not None]
    if len(carried) < len(given) or len({len(channels.numbers) for channels in carried}) > 1:
        raise Declined("they are concatenated with what cannot be multiplied")
    for channels in carried[1:]:
        trace.join(carried[0].numbers, channels.numbers)
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
    if axis_of(node.attrs.get("axis", 0), channels.rank) != channels.axis:
        return [channels] * len(node.outputs)
    sizes = [(tensor.shape or [None] * channels.rank)[channels.axis] for tensor in node.outputs]
    if sum(size if isinstance(size, int) else math.inf for size in sizes) != len(channels.numbers):
        raise Declined("Split cuts the channels at places that are not known")
    parts = np.split(channels.numbers, np.cumsum(sizes)[:-1])
    return [Channels(channels.axis, channels.rank, part) for part in parts]


def sliced(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    if len(node.inputs) > 3 and not is_constant(node.inputs[3]):
        raise Declined("Slice goes along axes that are computed at run time")
    axes = node.inputs[3].values.tolist() if len(node.inputs) > 3 else list(range(channels.rank))
    at = [i for i, axis in enumerate(axes) if axis_of(axis, channels.rank) == channels.axis]
    if not at:
        return [channels]
    if not all(map(is_constant, node.inputs[1:])):
        raise Declined("Slice cuts the channels at places that are computed at run time")
    start, end = (int(node.inputs[i].values[at[0]]) for i in (1, 2))
    step = int(node.inputs[4].values[at[0]]) if len(node.inputs) > 4 else 1
    count = len(channels.numbers)
    last = None if step < 0 and end < -count else end  # beyond the first one, which Python writes as nothing
    return [Channels(channels.axis, channels.rank, channels.numbers[start:last:step])]


def gathered(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    indices = node.inputs[1]
    if axis_of(node.attrs.get("axis", 0), channels.rank) != channels.axis or not is_constant(indices):
        raise Declined("Gather picks along another axis, or at places that are computed at run time")
    if indices.values.ndim != 1:
        raise Declined("Gather changes the axes")
    return [Channels(channels.axis, channels.rank, channels.numbers[indices.values])]


def padded(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    mode, constants = node.attrs.get("mode", "constant"), node.inputs[1:]
    if not all(is_constant(tensor) for tensor in constants if not tensor.is_empty()):
        raise Declined("Pad pads by what is computed at run time")
    value = node.inputs[2].values if len(node.inputs) > 2 and not node.inputs[2].is_empty() else np.zeros(1)
    if mode == "constant" and np.any(value):
        raise Declined("Pad pads with what is not zero")
    pads = node.inputs[1].values
    if len(node.inputs) > 3 or len(pads) != 2 * channels.rank:
        raise Declined("Pad pads some axes only")
    before, after = int(pads[channels.axis]), int(pads[channels.axis + channels.rank])
    if before == after == 0:
        return [channels]
    if mode != "constant" or before < 0 or after < 0:
        raise Declined("Pad changes the channels")
    zeros = trace.fresh(channels.axis, channels.rank, before + after).numbers  # free: any factor keeps them zero
    numbers = np.concatenate([zeros[:before], channels.numbers, zeros[before:]])
    return [Channels(channels.axis, channels.rank, numbers)]


def reduced(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    if len(node.inputs) > 1 and not is_constant(node.inputs[1]):
        raise Declined(f"{node.op} goes along axes that are computed at run time")
    found = node.inputs[1].values.tolist() if len(node.inputs) > 1 else node.attrs.get("axes", range(channels.rank))
    axes = {axis_of(axis, channels.rank) for axis in found}
    if channels.axis in axes:
        raise Declined(f"{node.op} goes along the channels")
    if node.attrs.get("keepdims", 1):
        return [channels]
    lost = sum(axis < channels.axis for axis in axes)
    return [Channels(channels.axis - lost, channels.rank - len(axes), channels.numbers)]


def resized(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    sizes = [(t.shape or [None] * channels.rank)[channels.axis] for t in (node.inputs[0], node.outputs[0])]
    if sizes != [len(channels.numbers)] * 2 or node.attrs.get("extrapolation_value", 0.0):
        raise Declined(f"{node.op} may change the channels")
    return [channels]


def transposed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    order = list(node.attrs.get("perm", reversed(range(channels.rank))))
    return [Channels(order.index(channels.axis), channels.rank, channels.numbers)]


def viewed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """The channels stay what they are where all behind them is kept, or all before them and they lead what is left."""
    channels = only(given)
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if before is None or after is None:
        raise Declined(f"{node.op} between shapes that are not known")
    axis, count = channels.axis, len(channels.numbers)
    before, after = [*before[:axis], count, *before[axis + 1 :]], list(after)
    tail = before[axis:]
    if _known(tail) and after[-len(tail) :] == tail:
        return [Channels(len(after) - len(tail), len(after), channels.numbers)]
    kept = 0
    while kept < min(axis, len(after)) and _alike(before[kept], after[kept], kept):
        kept += 1
    inner, outer = before[kept:], after[kept:]
    ahead, behind = inner[: axis - kept], inner[axis - kept + 1 :]
    if not _known(inner) or not _known(outer) or math.prod(inner) != math.prod(outer) or math.prod(ahead) != 1:
        raise Declined(f"{node.op} takes the channels apart, or its shapes are not known")
    lead = next((i for i, size in enumerate(outer) if size != 1), 0)
    rest = math.prod(outer[lead + 1 :])
    if not outer or outer[lead] % count or math.prod(behind) % rest:
        raise Declined(f"{node.op} takes the channels apart")
    return [Channels(kept + lead, len(after), np.repeat(channels.numbers, outer[lead] // count))]


def _alike(one: object, other: object, axis: int) -> bool:
    """Whether two sizes are the same; the first one, the batch, may be unknown."""
    return one == other if isinstance(one, int) and isinstance(other, int) else axis == 0 or one == other is not None


def _known(sizes: Sequence[object]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def axis_of(axis: int, rank: int) -> int:
    return axis % rank


MOVES: Mapping[str, Rule] = {
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), reduced),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), viewed),
    "Concat": concatenated,
    "Gather": gathered,
    "Pad": padded,
    "Resize": resized,
    "Slice": sliced,
    "Split": split,
    "Transpose": transposed,
}
