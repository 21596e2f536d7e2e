"""What becomes of numbers along one axis where a tensor is seen with other axes: Transpose moves the axis, Reshape,
Flatten, Squeeze and Unsqueeze cut it, join it with others, or leave it."""

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.affine import Affine
from onnxq.errors import Declined
from onnxq.graph import VIEWS, is_constant

SEEN_THROUGH = VIEWS | {"Transpose"}
Shape = Sequence[int | str]


def seen_behind(node: gs.Node, affine: Affine) -> Affine:
    """``affine`` of what the node reads, as one of what it makes. Raises Declined where it is no such thing."""
    return _seen(node, affine, behind=True)


def seen_before(node: gs.Node, affine: Affine) -> Affine:
    """``affine`` of what the node makes, as one of what it reads. Raises Declined where it is no such thing."""
    return _seen(node, affine, behind=False)


def _seen(node: gs.Node, affine: Affine, *, behind: bool) -> Affine:
    if affine.scalar or node.op == "Identity":
        return affine
    if node.op == "Transpose":
        return _transposed(node, affine, behind)
    if node.op in ("Squeeze", "Unsqueeze"):
        return _with_axes(node, affine, behind)
    shapes = (node.inputs[0].shape, node.outputs[0].shape)
    source, target = shapes if behind else shapes[::-1]
    if source is None or target is None:
        raise Declined(f"the shapes around {node.name!r} are not known")
    return reshaped(affine, source, target)


def reshaped(affine: Affine, source: Shape, target: Shape) -> Affine:
    """Where elements keep their order."""
    axis, index = carried(source, affine.axis, len(affine.factor), target)
    return Affine(affine.factor[index], affine.shift[index], axis)


def carried(source: Shape, axis: int, channels: int, target: Shape) -> tuple[int, NDArray[np.intp]]:
    """The axis of ``target`` that carries the channels which ``axis`` of ``source`` does, and the channel of each of
    its entries, where elements keep their order. Raises Declined where there is none.

    The channel of element ``i`` is ``i // inner % channels``, with ``inner`` the elements from one channel to the next;
    an axis carries it if it counts finer, and comes round later. Of free sizes it is known which are alike.
    """
    if _alike(source[:axis], target[:axis]) and list(target[axis : axis + 1]) == [channels]:
        return axis, np.arange(channels)
    inner = _inner(source, axis)
    for at, size in enumerate(target):
        step = _inner(target, at)
        if not isinstance(size, int) or size < 1 or step is None or inner is None:
            continue
        if inner % step == 0 and (size * step) % (channels * inner) == 0:
            return at, np.arange(size) // (inner // step) % channels
    known = [at for at, size in enumerate(target) if isinstance(size, int)]
    if channels == 1 and known:  # all elements are of one channel
        return known[-1], np.zeros(int(target[known[-1]]), np.intp)
    raise Declined(f"{list(source)} reshaped to {list(target)} scatters the channels over several axes")


def _alike(one: Shape, other: Shape) -> bool:
    """Whether these sizes are the same for sure: numbers, or names."""
    return list(one) == list(other) and all(one)


def _inner(shape: Shape, axis: int) -> int | None:
    """The elements from one index of the axis to the next, if that is known."""
    sizes = [size for size in shape[axis + 1 :] if isinstance(size, int) and size > 0]
    return math.prod(sizes) if len(sizes) == len(shape) - axis - 1 else None


def _transposed(node: gs.Node, affine: Affine, behind: bool) -> Affine:
    shape = node.inputs[0].shape
    perm = node.attrs.get("perm") or (list(range(len(shape)))[::-1] if shape is not None else None)
    if perm is None:
        raise Declined(f"the rank of what {node.name!r} transposes is not known")
    return Affine(affine.factor, affine.shift, perm.index(affine.axis) if behind else perm[affine.axis])


def _with_axes(node: gs.Node, affine: Affine, behind: bool) -> Affine:
    """Through Squeeze and Unsqueeze: axes of one element come or go, the others keep their order."""
    few = node.outputs[0] if node.op == "Squeeze" else node.inputs[0]
    many = node.inputs[0] if node.op == "Squeeze" else node.outputs[0]
    if len(node.inputs) < 2 or not is_constant(node.inputs[1]) or many.shape is None or few.shape is None:
        raise Declined(f"the axes of {node.name!r} are not known")
    gone = {int(axis) % len(many.shape) for axis in node.inputs[1].values}
    kept = [axis for axis in range(len(many.shape)) if axis not in gone]
    widens = behind == (node.op == "Unsqueeze")  # towards more axes
    if not widens and affine.axis in gone:
        raise Declined(f"{node.name!r} drops the axis of the channels")
    return Affine(affine.factor, affine.shift, kept[affine.axis] if widens else kept.index(affine.axis))
