"""How layers, norms and elementwise operators carry the channels of what they read to what they make: rules of
``channel_flow``; those of operators that move elements are in ``channel_moves``.

A rule returns the channels of the outputs, None for those whose channels cannot be multiplied. ``Declined`` fixes
the channels of everything that the node reads.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.channel_flow import Channels, End, Given, Rule, Trace
from onnxq.channel_moves import MOVES, only
from onnxq.channels import input_axis, input_channels, output_axis, output_channels
from onnxq.errors import Declined
from onnxq.graph import HEAVY_OPS, STANDARD, has_bias, is_constant, layout, readers

NORMS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization")
INERT = ("Shape", "Size")  # they read no values


def carry(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """The channels of the node's outputs; those of its inputs are joined or fixed as it needs."""
    known = node.domain in STANDARD
    if known and node.op in INERT:
        return []
    try:
        if known and node.op in MAKERS:
            return MAKERS[node.op](trace, node, given)
        if all(channels is None for channels in given):
            return []
        if not known or node.op not in RULES:
            raise Declined(f"{node.op} does not commute with a factor per channel")
        return RULES[node.op](trace, node, given)
    except Declined as reason:
        for channels in given:
            if channels is not None:
                trace.fix(channels, str(reason))
        return []


def linear(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """A layer takes the channels it reads, and makes others."""
    where, read = layout(node), given[0]
    if where is None or where.index != 1:
        raise Declined(f"{node.op} multiplies by what is computed at run time, or from the left")
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        raise Declined("Gemm transposes what it reads")
    weight = node.inputs[1].values
    if node.op == "MatMul" and weight.ndim != 2:
        raise Declined("MatMul has several matrices")
    if any(channels is not None for channels in given[1:]):
        raise Declined(f"{node.op} reads a bias that is computed at run time")
    rank = weight.ndim if node.op != "MatMul" else read.rank if read else _rank(node.inputs[0])
    if read is not None:
        if (read.axis, len(read.numbers)) != (input_axis(node) % rank, input_channels(node)):
            raise Declined(f"{node.op} sums along another axis than that of the channels")
        trace.takers.append(End(node, read.numbers))
    made = trace.fresh(output_axis(node) % rank, rank, output_channels(node))
    trace.makers.append(End(node, made.numbers))
    for reason in _fixing(node, weight):
        for channels in (read, made):
            if channels is not None:
                trace.fix(channels, reason)
    if has_bias(node) and not is_constant(node.inputs[2]):
        trace.fix(made, "a bias is computed at run time")
    return [made]


def _fixing(node: gs.Node, weight: NDArray[np.generic]) -> Iterator[str]:
    """Why the layer's weight must stay what it is."""
    if len(readers(node.inputs[1])) > 1:
        yield "a weight is shared by several layers"
    if weight.dtype != np.float32:
        yield f"a weight is {weight.dtype}, not float32"
    elif not np.isfinite(weight).all():
        yield "a weight is infinite or NaN"


def normalization(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """What it reads may not be multiplied, but its scale and bias can multiply what it makes."""
    for channels in given:
        if channels is not None:
            trace.fix(channels, f"{node.op} does not commute with a factor per channel")
    parameters = [tensor for tensor in node.inputs[1:3] if not tensor.is_empty()]
    if not parameters or not all(map(_is_float, parameters)):
        raise Declined(f"{node.op} has no constant scale per channel")
    rank, count = _rank(node.inputs[0]), math.prod(parameters[0].shape)
    last = node.op in ("LayerNormalization", "RMSNormalization")
    axis = rank - 1 if last else 1
    if last and node.attrs.get("axis", -1) not in (-1, axis):
        raise Declined(f"{node.op} goes along several axes")
    if rank <= axis or node.inputs[0].shape[axis] != count:
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
    channels = only(given)
    if not trace.like_relu(node):
        raise Declined("a Clip bounds its channels")
    return [channels]


def summed(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """All that is added is multiplied alike; a constant too."""
    carried = [channels for channels in given if channels is not None]
    first = carried[0]
    if any(c.from_right != first.from_right or len(c.numbers) != len(first.numbers) for c in carried):
        raise Declined(f"{node.op} spreads one operand over the channels of the other")
    constants = [tensor for tensor in node.inputs if is_constant(tensor)]
    if len(carried) + len(constants) < len(node.inputs):
        raise Declined(f"{node.op} adds what cannot be multiplied")
    shifts = any(np.any(constant.values) for constant in constants)
    if (shifts and node.op in ("Max", "Min")) or not all(_fits(constant, first) for constant in constants):
        raise Declined(f"{node.op} with a constant does not commute with a factor per channel")
    for channels in carried[1:]:
        trace.join(first, channels)
    if shifts:
        trace.shifts.append(End(node, first.numbers))
    return [_broadcast(first, node, given)]


def multiplied(trace: Trace, node: gs.Node, given: Given) -> Sequence[Channels | None]:
    """One operand brings the channels, the others multiply or divide them; a constant vector can take a factor."""
    constants = [tensor for tensor in node.inputs if is_constant(tensor)]
    if all(channels is None for channels in given):
        return _made_by_constant(trace, node, constants) if node.op == "Mul" else []
    at = 0 if given[0] is not None or node.op == "Div" else 1
    main = given[at]
    if main is None or not all(_fits(constant, main) for constant in constants):
        raise Declined(f"{node.op} does not commute with a factor per channel")
    result = _broadcast(main, node, given)
    shape = node.outputs[0].shape
    if len(main.numbers) == 1 and (shape is None or shape[result.axis] != 1):
        raise Declined(f"{node.op} spreads one channel over several")
    for index, channels in enumerate(given):
        if channels is not None and index != at:  # they may be the very same
            trace.fix(channels, "what multiplies other channels cannot be multiplied itself")
    return [result]


def _made_by_constant(trace: Trace, node: gs.Node, constants: Sequence[gs.Constant]) -> Sequence[Channels | None]:
    """The last Mul of a normalization that is spelled out makes channels as a layer does."""
    if len(constants) != 1 or not _is_float(constants[0]) or node.outputs[0].shape is None:
        return []
    wide = [axis for axis, size in enumerate(constants[0].values.shape) if size != 1]
    rank, lack = len(node.outputs[0].shape), len(node.outputs[0].shape) - constants[0].values.ndim
    if len(wide) != 1 or lack < 0:
        return []
    made = trace.fresh(wide[0] + lack, rank, constants[0].values.shape[wide[0]])
    trace.makers.append(End(node, made.numbers))
    return [made]


def _broadcast(channels: Channels, node: gs.Node, given: Given) -> Channels:
    """The channels in what the node makes, which has the axes of its largest operand. Raises Declined."""
    ranks = [c.rank if c else _rank(tensor) for c, tensor in zip(given, node.inputs, strict=True)]
    return Channels(max(ranks) - channels.from_right, max(ranks), channels.numbers)


def _rank(tensor: gs.Tensor) -> int:
    if tensor.shape is None:
        raise Declined(f"the shape of {tensor.name!r} is not known")
    return len(tensor.shape)


def _is_float(tensor: gs.Tensor) -> bool:
    return is_constant(tensor) and tensor.values.dtype == np.float32


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
    **dict.fromkeys(("Abs", "Dropout", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu"), same),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), pooled),
    **dict.fromkeys(("Add", "Max", "Min", "Sub", "Sum"), summed),
    "Clip": clipped,
    "Div": multiplied,
}
