"""How a weight of few bits is written down: which grid an engine reads where the layer computes in float, and whether
its integers are packed in the file.

| form | graph | the layer computes in |
|---|---|---|
| EIGHT | ``DequantizeLinear(int8)`` | integers, or float |
| DIRECT | ``DequantizeLinear(int4)`` | float; engines have kernels for MatMul and Gemm that read packed weights |
| CAST | ``DequantizeLinear(Cast(int4))`` | integers, or float: engines compute a Cast of a constant when they load it |

Of a shifted grid (see ``Scheme.shifted``) the zero points are taken away from the integers: before they are stored in 8
bits, or by a Sub of constants behind the Cast, which engines compute when they load it, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend
from onnxq.errors import Declined
from onnxq.graph import layout
from onnxq.packing import packed_type, type_name
from onnxq.plan import Plan, Weight
from onnxq.scheme import Integers, QParams, Scheme
from onnxq.workspace import RoundedWeight

SMALLEST = 1024  # values; what packing fewer saves, the Cast takes
Pack = Literal["auto", "always", "never"]


class Form(Enum):
    EIGHT = "8 bits"
    DIRECT = "packed"
    CAST = "packed, cast to 8 bits"


@dataclass(frozen=True)
class Written:
    """How a weight is written: ``packed`` is ONNX's type of fewer than 8 bits, where the form has one; ``reason`` says
    why a weight that could be packed is not."""

    form: Form
    packed: int | None = None
    reason: str = ""


def in_8_bits(rounded: RoundedWeight) -> tuple[Integers, Integers]:
    """The integers and zero points of a weight in 8 bits: those of a shifted grid are taken around zero."""
    params, integers = rounded.params, rounded.integers
    if not params.scheme.shifted:
        return integers, params.zero_point
    return integers - shift(params, integers.ndim), np.zeros_like(params.zero_point)


def shift(params: QParams, rank: int) -> Integers:
    """The zero points, as they are taken from integers of that rank."""
    shape = [1] * rank
    if params.zero_point.ndim and params.scheme.axis is not None:
        shape[params.scheme.axis] = -1
    return params.zero_point.reshape(shape)


def is_product(node: gs.Node) -> bool:
    """Whether an engine may have a kernel for it that reads packed weights: ``x W``, one matrix of weights."""
    where = layout(node)
    return where is not None and where.index == 1 and node.op in ("Gemm", "MatMul") and len(node.inputs[1].shape) == 2


def float_grid(node: gs.Node, backend: Backend) -> Scheme:
    """The grid of a layer's weight where the layer computes in float."""
    where = layout(node)
    assert where is not None  # the caller knows its weight
    return (backend.low_bits.grid if is_product(node) else backend.weight).along(where.out_axis)


def in_blocks(
    scheme: Scheme, size: int, weight: Weight, nodes: Mapping[str, gs.Node], plan: Plan, backend: Backend
) -> tuple[Scheme, str]:
    """The scheme with a scale for every ``size`` rows of the weight, or for fewer where the engine wants blocks that
    divide the rows; else the reason why it has none. The weight of a layer in float then has 8 bits: with one scale
    for all rows, fewer cost much."""
    readers = [nodes[name] for name, _ in weight.readers]
    integer = any(node.name in plan.integer for node in readers)
    try:
        if integer:
            raise Declined("its layer computes in integers, whose products are summed over all rows at one scale")
        return _in_blocks(scheme, size, readers, backend), ""
    except Declined as reason:
        wide = scheme if integer else replace(scheme, bits=max(scheme.bits, 8))
        return wide, f"no blocks, and {wide.bits} bits: {reason}"


def _in_blocks(scheme: Scheme, size: int, readers: Sequence[gs.Node], backend: Backend) -> Scheme:
    if not all(map(is_product, readers)):
        raise Declined("only MatMul and Gemm with one matrix of weights have a scale for every few rows")
    found = {layout(node) for node in readers}
    where = found.pop()
    if found or where is None:
        raise Declined("the layers that share it read it along different axes")
    rows, low = readers[0].inputs[1].shape[where.in_axis], backend.low_bits
    sizes = low.blocks.get(next((bits for bits in (2, 4, 8) if bits >= scheme.bits), 8), ())
    fitting = [
        block
        for block in sizes
        if block <= size and (low.ragged or rows % block == 0) and (block < rows or not low.several)
    ]
    if not fitting:
        raise Declined(_no_block(scheme, sizes, rows, backend))
    return replace(scheme, axis=where.in_axis, block=max(fitting))


def _no_block(scheme: Scheme, sizes: Sequence[int], rows: int, backend: Backend) -> str:
    if not sizes:
        return f"{backend.title} has no kernel for blocks of {scheme.bits} bits"
    return f"{backend.title} takes blocks of {', '.join(map(str, sizes))}, and none fits {rows} rows"


def written_form(scheme: Scheme, size: int, readers: Sequence[gs.Node], integer: bool, backend: Backend) -> Written:
    """The form of a weight of ``size`` values in which the engine runs its layer as it would with 8 bits stored;
    ``integer``: whether it computes in integers."""
    low, title = backend.low_bits, backend.title
    packed = next(
        (t for bits in (2, 4) if (t := packed_type(scheme, bits)) is not None and type_name(t) in low.types), None
    )
    if packed_type(scheme) is None:
        return Written(Form.EIGHT)
    if packed is None:
        return Written(Form.EIGHT, reason=f"{title} does not know {type_name(packed_type(scheme, 4) or 0)}")
    if size < SMALLEST:
        return Written(Form.EIGHT, reason=f"fewer than {SMALLEST:,} values: packing saves nothing")
    if not integer and all(map(is_product, readers)):
        if low.channels or scheme.block:
            return Written(Form.DIRECT, packed)
        return Written(Form.EIGHT, reason=f"{title} reads {type_name(packed)} in blocks alone (--block-size)")
    if low.casts:
        return Written(Form.CAST, packed)
    where = "of layers in integers" if integer else "of this operator"
    return Written(Form.EIGHT, reason=f"{title} has no fast kernel that reads packed weights {where}")


def packed_form(scheme: Scheme, integer: bool, backend: Backend) -> Written:
    """Packed, whatever the engine makes of it."""
    packed = packed_type(scheme, 4)
    if packed is None:
        return Written(Form.EIGHT)
    if scheme.shifted and not backend.low_bits.casts:
        return Written(Form.EIGHT, reason=f"{backend.title} takes packed weights around zero only")
    return Written(Form.CAST if integer and backend.low_bits.casts else Form.DIRECT, packed)
