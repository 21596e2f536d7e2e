"""How each operator carries the channels of what it reads to what it makes: the rules of ``channel_flow``.

A rule returns the channels of the outputs, None for those whose channels cannot be multiplied. ``Declined`` fixes
the channels of everything that the node reads.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_flow import Channels, End, Trace
from onnxq.channels import output_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_constant, layout, readers

Given = Sequence[Channels | None]
Rule = Callable[[Trace, gs.Node, Given], Sequence[Channels | None]]

NORMS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
INERT = ("Shape", "Size")  # they read no values


def carry(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """The channels of the node's outputs; those of its inputs are joined or fixed as it needs."""
    if node.op in INERT:
        return []
    try:
        if node.op in MAKERS:
            return MAKERS[node.op](trace, node, given)
        if all(channels is None for channels in given):
            return []
        if node.op not in RULES:
            raise Declined(f"{node.op} does not commute with a factor per channel")
        return RULES[node.op](trace, node, given)
    except Declined as reason:
        for channels in given:
            if channels is not None:
                trace.fix(channels, str(reason))
        return []


def linear(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """A layer takes the channels it reads, and makes others."""
    where = layout(node)
    if where is None or where.index != 1 or (node.op == "MatMul" and node.inputs[1].values.ndim != 2):
        raise Declined(f"{node.op} multiplies by what is computed at run time, or from the left")
    weight = node.inputs[1]
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        raise Declined("Gemm transposes what it reads")
    if len(readers(weight)) > 1:
        raise Declined("its weight is shared with another layer")
    if not np.isfinite(weight.values).all():
        raise Declined("its weight has values that are infinite or NaN")
    read = given[0]
    conv = node.op in ("Conv", "ConvTranspose")
    rank = len(weight.shape) if conv else 2 if node.op == "Gemm" else read.rank if read else _rank(node.inputs[0])
    axis = 1 if conv else rank - 1
    if read is not None and read.axis != axis:
        raise Declined(f"{node.op} sums along another axis than that of the channels")
    if any(channels is not None for channels in given[1:]):
        raise Declined(f"{node.op} reads a bias that is computed at run time")
    if read is not None:
        trace.takers.append(End(node, read.numbers))
    made = trace.fresh(axis, rank, output_channels(node))
    trace.makers.append(End(node, made.numbers))
    return [made]


def normalization(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """What it reads may not be multiplied, but its scale and bias can multiply what it makes."""
    for channels in given:
        if channels is not None:
            trace.fix(channels, f"{node.op} does not commute with a factor per channel")
    rank, count = _rank(node.inputs[0]), math.prod(node.inputs[1].shape or ())
    last = node.op in ("LayerNormalization", "RMSNormalization")
    axis = rank - 1 if last else 1
    if last and node.attrs.get("axis", -1) not in (-1, axis):
        raise Declined(f"{node.op} goes along several axes")
    size = (node.inputs[0].shape or [])[axis : axis + 1]
    if not all(map(is_constant, node.inputs[1:3])) or size != [count]:
        raise Declined(f"{node.op} has no constant scale per channel")
    made = trace.fresh(axis, rank, count)
    trace.makers.append(End(node, made.numbers))
    return [made]


def same(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """``f(k x) = k f(x)`` for k > 0, element by element."""
    return [_only(given)]


def pooled(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
    if channels.axis != 1:
        raise Declined(f"{node.op} goes along the channels")
    return [channels]


def clipped(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    if not trace.like_relu(node):
        raise Declined("a Clip bounds its channels")
    return [_only(given)]


def summed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """All that is added is multiplied alike; a constant too."""
    carried = [channels for channels in given if channels is not None]
    first = carried[0]
    if any(c.from_right != first.from_right or len(c.numbers) != len(first.numbers) for c in carried):
        raise Declined(f"{node.op} spreads one operand over the channels of the other")
    for tensor, channels in zip(node.inputs, given, strict=True):
        if channels is None and not is_constant(tensor):
            raise Declined(f"{node.op} adds what cannot be multiplied")
    constants = [tensor for tensor in node.inputs if is_constant(tensor) and np.any(tensor.values)]
    if constants and (node.op in ("Max", "Min") or not all(_fits(constant, first) for constant in constants)):
        raise Declined(f"{node.op} with a constant does not commute with a factor per channel")
    for channels in carried[1:]:
        trace.join(first.numbers, channels.numbers)
    if constants:
        trace.shifts.append(End(node, first.numbers))
    rank = max(channels.rank for channels in carried)
    return [Channels(rank - first.from_right, rank, first.numbers)]


def multiplied(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """One operand brings the channels, the others multiply or divide them; a constant vector can take a factor."""
    constants = [tensor for tensor in node.inputs if is_constant(tensor)]
    if all(channels is None for channels in given):
        return _made_by_constant(trace, node, constants) if node.op == "Mul" else []
    main = given[0] if given[0] is not None or node.op == "Div" else given[1]
    if main is None or node.inputs[0] is node.inputs[1] or not all(_fits(constant, main) for constant in constants):
        raise Declined(f"{node.op} does not commute with a factor per channel")
    size = (node.outputs[0].shape or [None] * main.rank)[-main.from_right]
    if len(main.numbers) == 1 and size != 1:
        raise Declined(f"{node.op} spreads one channel over several")
    for channels in given:
        if channels is not None and channels is not main:
            trace.fix(channels, "what multiplies other channels cannot be multiplied itself")
    rank = max([main.rank, *(len(tensor.shape or ()) for tensor in node.inputs)])
    return [Channels(rank - main.from_right, rank, main.numbers)]


def _made_by_constant(trace: Trace, node: gs.Node, constants: Sequence[gs.Constant]) -> Sequence[Channels | None]:
    """The last Mul of a normalization that is spelled out makes channels as a layer does."""
    if len(constants) != 1 or node.outputs[0].shape is None:
        return []
    wide = [axis for axis, size in enumerate(constants[0].values.shape) if size != 1]
    rank, lack = len(node.outputs[0].shape), len(node.outputs[0].shape) - constants[0].values.ndim
    if len(wide) != 1 or lack < 0 or len(readers(constants[0])) > 1:
        return []
    made = trace.fresh(wide[0] + lack, rank, constants[0].values.shape[wide[0]])
    trace.makers.append(End(node, made.numbers))
    return [made]


def concatenated(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    first = next(channels for channels in given if channels is not None)
    if any(c is not None and (c.axis, c.rank) != (first.axis, first.rank) for c in given):
        raise Declined("Concat joins what has its channels on different axes")
    if _axis(node.attrs["axis"], first.rank) != first.axis:
        return summed(trace, node, given)
    parts = [c or _foreign(trace, tensor, first) for c, tensor in zip(given, node.inputs, strict=True)]
    return [Channels(first.axis, first.rank, np.concatenate([part.numbers for part in parts]))]


def _foreign(trace: Trace, tensor: gs.Tensor, like: Channels) -> Channels:
    """Channels that come from elsewhere, and stay as they are."""
    size = (tensor.shape or [None] * like.rank)[like.axis]
    if not isinstance(size, int):
        raise Declined("Concat appends an unknown number of channels")
    made = trace.fresh(like.axis, like.rank, size)
    trace.fix(made, "they are concatenated with what cannot be multiplied")
    return made


def split(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
    if _axis(node.attrs.get("axis", 0), channels.rank) != channels.axis:
        return [channels] * len(node.outputs)
    sizes = [(tensor.shape or [None] * channels.rank)[channels.axis] for tensor in node.outputs]
    if sum(size if isinstance(size, int) else math.inf for size in sizes) != len(channels.numbers):
        raise Declined("Split cuts the channels at places that are not known")
    parts = np.split(channels.numbers, np.cumsum(sizes)[:-1])
    return [Channels(channels.axis, channels.rank, part) for part in parts]


def sliced(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
    if len(node.inputs) > 3 and not is_constant(node.inputs[3]):
        raise Declined("Slice goes along axes that are computed at run time")
    axes = node.inputs[3].values.tolist() if len(node.inputs) > 3 else list(range(channels.rank))
    at = [i for i, axis in enumerate(axes) if _axis(axis, channels.rank) == channels.axis]
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
    channels = _only(given)
    indices = node.inputs[1]
    if _axis(node.attrs.get("axis", 0), channels.rank) != channels.axis or not is_constant(indices):
        raise Declined("Gather picks along another axis, or at places that are computed at run time")
    if indices.values.ndim != 1:
        raise Declined("Gather changes the axes")
    return [Channels(channels.axis, channels.rank, channels.numbers[indices.values])]


def padded(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
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
    channels = _only(given)
    if len(node.inputs) > 1 and not is_constant(node.inputs[1]):
        raise Declined(f"{node.op} goes along axes that are computed at run time")
    found = node.inputs[1].values.tolist() if len(node.inputs) > 1 else node.attrs.get("axes", range(channels.rank))
    axes = {_axis(axis, channels.rank) for axis in found}
    if channels.axis in axes:
        raise Declined(f"{node.op} goes along the channels")
    if node.attrs.get("keepdims", 1):
        return [channels]
    lost = sum(axis < channels.axis for axis in axes)
    return [Channels(channels.axis - lost, channels.rank - len(axes), channels.numbers)]


def resized(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
    sizes = [(t.shape or [None] * channels.rank)[channels.axis] for t in (node.inputs[0], node.outputs[0])]
    if sizes != [len(channels.numbers)] * 2 or node.attrs.get("extrapolation_value", 0.0):
        raise Declined(f"{node.op} may change the channels")
    return [channels]


def transposed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = _only(given)
    order = list(node.attrs.get("perm", reversed(range(channels.rank))))
    return [Channels(order.index(channels.axis), channels.rank, channels.numbers)]


def viewed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """The channels stay what they are where all behind them is kept, or all before them and they lead what is left."""
    channels = _only(given)
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


def _only(given: Given) -> Channels:
    """The channels of the one input that may have any. Raises Declined."""
    if given[0] is None or any(channels is not None for channels in given[1:]):
        raise Declined("channels are read as a parameter")
    return given[0]


def _axis(axis: int, rank: int) -> int:
    return axis % rank


def _rank(tensor: gs.Tensor) -> int:
    if tensor.shape is None:
        raise Declined(f"the shape of {tensor.name!r} is not known")
    return len(tensor.shape)


def _fits(constant: gs.Constant, channels: Channels) -> bool:
    """Whether the constant has one number for all channels, or one for each."""
    shape = constant.values.shape
    size = shape[-channels.from_right] if len(shape) >= channels.from_right else 1
    return size in (1, len(channels.numbers))


MAKERS: Mapping[str, Rule] = {
    **dict.fromkeys(HEAVY_OPS, linear),
    **dict.fromkeys(NORMS, normalization),
    "Mul": multiplied,
}
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Identity", "Dropout", "LeakyRelu", "Neg", "PRelu", "Relu"), same),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), pooled),
    **dict.fromkeys(("Add", "Max", "Min", "Sub", "Sum"), summed),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), reduced),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), viewed),
    "Clip": clipped,
    "Concat": concatenated,
    "Div": multiplied,
    "Gather": gathered,
    "Pad": padded,
    "Resize": resized,
    "Slice": sliced,
    "Split": split,
    "Transpose": transposed,
}
