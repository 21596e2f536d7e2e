"""How each operator carries the channels of what it reads to what it makes: the rules of ``channel_flow``.

A rule returns the channels of the outputs, None for those whose channels cannot be multiplied. ``Declined`` fixes
the channels of everything that the node reads.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.channel_flow import Channels, End, Given, Rule, Trace
from onnxq.channel_moves import MOVES, only
from onnxq.channels import output_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, is_constant, layout, readers

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
    return [only(given)]


def pooled(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    channels = only(given)
    if channels.axis != 1:
        raise Declined(f"{node.op} goes along the channels")
    return [channels]


def clipped(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    if not trace.like_relu(node):
        raise Declined("a Clip bounds its channels")
    return [only(given)]


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
    **MOVES,
    **dict.fromkeys(("Identity", "Dropout", "LeakyRelu", "Neg", "PRelu", "Relu"), same),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), pooled),
    **dict.fromkeys(("Add", "Max", "Min", "Sub", "Sum"), summed),
    "Clip": clipped,
    "Div": multiplied,
}
