"""What gives what it is given goes: Identity, Dropout, Cast to the type it has, Reshape to the shape it has, Transpose
in order, Slice of everything, Pad by nothing, Resize by 1, a product with 1, a sum with 0, and their like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import constant_input, constant_operand, is_constant, is_output, optional, producer, skip
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class DropIdle:
    """Drop every node that is idle, unless it gives an input or an output of the model another name."""

    name: ClassVar[str] = "drop_idle"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        dropped = sum(attempt(workspace, self.name, node, drop, workspace, node) for node in list(graph.nodes))
        return concluded(workspace, self.name, dropped, f"{dropped} nodes that did nothing dropped")


def drop(workspace: Workspace, node: gs.Node) -> bool:
    """Whether it was idle, and is gone."""
    graph, idle = workspace.graph, IDLE.get(node.op)
    if idle is None or not node.inputs or node.domain not in (None, "", "ai.onnx"):
        return False
    if any(tensor.outputs or is_output(graph, tensor) for tensor in node.outputs[1:]) or not idle(node):
        return False
    index = int(is_constant(node.inputs[0]) and len(node.inputs) == 2)  # of a product or a sum
    source, result = node.inputs[index], node.outputs[0]
    if is_output(graph, result) and (producer(source) is None or is_output(graph, source)):
        return False
    kept, gone = (result, source) if is_output(graph, result) else (source, result)
    skip(graph, node, index)
    known = workspace.normals.pop(gone.name, None)
    if known is not None:
        workspace.normals.setdefault(kept.name, known)
    return True


def _always(node: gs.Node) -> bool:
    return True


def _infers(node: gs.Node) -> bool:
    training = constant_input(node, 2)
    return optional(node, 2) is None or (training is not None and not training.any())


def _casts_to_itself(node: gs.Node) -> bool:
    source = node.inputs[0].dtype
    if source is None:
        return False
    return bool(
        node.attrs["to"]
        == (source if isinstance(source, int) else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(source)))
    )


def _keeps_shape(node: gs.Node) -> bool:
    """Every axis is what it was, but at most one that is what the others leave."""
    shape, wanted = node.inputs[0].shape, constant_input(node, 1)
    if shape is None or wanted is None or len(shape) != wanted.size:
        return False
    copies = not node.attrs.get("allowzero", 0)
    same = [int(want) == have or (want == 0 and copies) for have, want in zip(shape, wanted.ravel(), strict=True)]
    return all(same) or (same.count(False) == 1 and int(wanted.ravel()[same.index(False)]) == -1)


def _is_flat(node: gs.Node) -> bool:
    shape = node.inputs[0].shape
    return shape is not None and len(shape) == 2 and node.attrs.get("axis", 1) in (1, -1)


def _in_order(node: gs.Node) -> bool:
    perm = node.attrs.get("perm")
    return perm is not None and list(perm) == sorted(perm)


def _takes_everything(node: gs.Node) -> bool:
    starts, ends = constant_input(node, 1), constant_input(node, 2)
    axes, steps = constant_input(node, 3), constant_input(node, 4)
    if starts is None or ends is None or (axes is None and optional(node, 3) is not None):
        return False
    if starts.any() or not (optional(node, 4) is None or (steps is not None and np.all(steps == 1))):
        return False
    shape = node.inputs[0].shape
    return all(
        end >= np.iinfo(np.int32).max or (shape is not None and isinstance(size := shape[axis], int) and end >= size)
        for end, axis in zip(ends, range(len(ends)) if axes is None else axes, strict=True)
    )


def _pads_nothing(node: gs.Node) -> bool:
    pads = constant_input(node, 1)
    return pads is not None and not pads.any()


def _resizes_to_itself(node: gs.Node) -> bool:
    if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    scales, sizes, shape = constant_input(node, 2), constant_input(node, 3), node.inputs[0].shape
    if sizes is not None:
        return "axes" not in node.attrs and shape is not None and [int(size) for size in sizes] == list(shape)
    return scales is not None and scales.size > 0 and optional(node, 3) is None and bool(np.all(scales == 1))


def _repeats_once(node: gs.Node) -> bool:
    repeats = constant_input(node, 1)
    return repeats is not None and bool(np.all(repeats == 1))


def _expands_nothing(node: gs.Node) -> bool:
    wanted, shape = constant_input(node, 1), node.inputs[0].shape
    return wanted is not None and shape is not None and wanted.size <= len(shape) and bool(np.all(wanted == 1))


def _has_one_input(node: gs.Node) -> bool:
    return len(node.inputs) == 1


def _with(neutral: float, *, commutes: bool) -> Callable[[gs.Node], bool]:
    """Whether one operand, the second unless the operator ``commutes``, is that number and repeats nothing."""

    def idle(node: gs.Node) -> bool:
        index = constant_operand(node)
        constant = None if index is None or (index == 0 and not commutes) else constant_input(node, index)
        if index is None or constant is None or not np.all(constant == neutral):
            return False
        shape = node.inputs[1 - index].shape
        if constant.ndim == 0:
            return True
        if shape is None or constant.ndim > len(shape):
            return False
        return all(size in (1, have) for size, have in zip(constant.shape[::-1], shape[::-1], strict=False))

    return idle


IDLE: Mapping[str, Callable[[gs.Node], bool]] = {
    "Add": _with(0, commutes=True),
    "Cast": _casts_to_itself,
    "Concat": _has_one_input,
    "Div": _with(1, commutes=False),
    "Dropout": _infers,
    "Expand": _expands_nothing,
    "Flatten": _is_flat,
    "Identity": _always,
    "Max": _has_one_input,
    "Min": _has_one_input,
    "Mul": _with(1, commutes=True),
    "Pad": _pads_nothing,
    "Reshape": _keeps_shape,
    "Resize": _resizes_to_itself,
    "Slice": _takes_everything,
    "Sub": _with(0, commutes=False),
    "Sum": _has_one_input,
    "Tile": _repeats_once,
    "Transpose": _in_order,
}
