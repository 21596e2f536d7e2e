"""The few questions and edits every rewrite needs, and the one table of channel axes and weight layouts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.errors import Declined

STANDARD = (None, "", "ai.onnx")  # the names of the domain of ONNX's own operators
HEAVY_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
RECURRENT_OPS = ("GRU", "LSTM", "RNN")

VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
MOVERS = frozenset(
    {
        *(
            "Concat",
            "DepthToSpace",
            "Expand",
            "Flatten",
            "Gather",
            "GatherND",
            "Identity",
            "MaxPool",
            "Pad",
            "ReduceMax",
        ),
        *(
            "ReduceMin",
            "Reshape",
            "Resize",
            "Slice",
            "SpaceToDepth",
            "Split",
            "Squeeze",
            "Tile",
            "Transpose",
            "Unsqueeze",
        ),
    }
)
"""Operators that move or pick elements: what they do to integers they do to the reals these stand for.

Of Resize this holds where it picks the nearest, of Pad where it pads with what stands for zero.
"""


@dataclass(frozen=True)
class Layout:
    """Where a heavy node keeps its weight: ``index`` of the input, axis of the output and of the input channels.

    With ``groups`` > 1 the output channels of a Conv stay on ``out_axis``; a ConvTranspose has only the channels
    of one group there, so one entry on it serves every group.
    """

    index: int
    out_axis: int
    in_axis: int
    groups: int = 1


def layout(node: gs.Node) -> Layout | None:
    """The layout of a heavy node's constant weight, or None where both operands are computed."""
    if node.op in ("Conv", "ConvTranspose", "Gemm"):
        if not is_constant(node.inputs[1]):
            return None
        if node.op == "Gemm":
            out = 0 if node.attrs.get("transB", 0) else 1
            return Layout(1, out, 1 - out)
        out = int(node.op == "ConvTranspose")
        return Layout(1, out, 1 - out, int(node.attrs.get("group", 1)))
    if node.op == "MatMul":
        for index, right in ((1, True), (0, False)):
            tensor = node.inputs[index]
            if is_constant(tensor) and len(tensor.shape) >= 2:
                rank = len(tensor.shape)
                return Layout(index, rank - 1 if right else rank - 2, rank - 2 if right else rank - 1)
    return None


def is_constant(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant)


def constant_operand(node: gs.Node) -> int | None:
    """The index of the constant among the two operands of an elementwise node, if one is and the other is not."""
    found = [i for i, tensor in enumerate(node.inputs) if is_constant(tensor)]
    return found[0] if len(node.inputs) == 2 and len(found) == 1 else None


def held(tensor: gs.Tensor) -> NDArray[Any] | None:
    """The values of a constant, or of what a Constant node makes, as they are found in bodies; else None."""
    if is_constant(tensor):
        return np.asarray(tensor.values)
    maker = producer(tensor)
    value = maker.attrs.get("value") if maker is not None and maker.op == "Constant" else None
    return np.asarray(value.values) if isinstance(value, gs.Constant) else None


def values(tensor: gs.Tensor, what: str) -> NDArray[np.generic]:
    """The values of a constant. Raises Declined if it is computed at run time."""
    if not is_constant(tensor):
        raise Declined(f"its {what} is computed at run time")
    return np.asarray(tensor.values)


def optional(node: gs.Node, index: int) -> gs.Tensor | None:
    """An input that may be left out, None where it is."""
    return node.inputs[index] if index < len(node.inputs) and not node.inputs[index].is_empty() else None


def constant_input(node: gs.Node, index: int) -> NDArray[Any] | None:
    """The values of an input, None where it is left out or computed."""
    given = optional(node, index)
    return np.asarray(given.values) if given is not None and is_constant(given) else None


def has_bias(node: gs.Node) -> bool:
    """Whether a Conv, ConvTranspose or Gemm has its optional third input."""
    return optional(node, 2) is not None


def per_channel(bias: NDArray[np.generic], channels: int) -> NDArray[np.float64]:
    """[channels] of a bias that is added along the last axis. Raises Declined for one that differs from row to row."""
    if bias.size not in (1, channels) or bias.size != math.prod(bias.shape[-1:]):
        raise Declined(f"its bias has shape {list(bias.shape)}, not one number per channel")
    return np.broadcast_to(bias.astype(np.float64).reshape(-1), (channels,))


def producer(tensor: gs.Tensor) -> gs.Node | None:
    return tensor.inputs[0] if tensor.inputs else None


def readers(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    """Every (node, input index) that reads the tensor, nodes of subgraphs included."""
    found, seen = [], set()
    for node in tensor.outputs:
        if id(node) not in seen:
            seen.add(id(node))
            found += [(node, i) for i, entry in enumerate(node.inputs) if entry is tensor]
    return found


def is_output(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    return any(entry is tensor for entry in graph.outputs)


def sole_producer(graph: gs.Graph, tensor: gs.Tensor, *ops: str) -> gs.Node | None:
    """The node of one of ``ops`` that makes the tensor, if nothing but one node reads the tensor."""
    node = producer(tensor)
    if node is None or node.op not in ops or len(readers(tensor)) != 1 or is_output(graph, tensor):
        return None
    return node


def sole_reader(graph: gs.Graph, tensor: gs.Tensor) -> gs.Node | None:
    """The only node that reads the tensor, unless it is a graph output or read in a subgraph."""
    found = readers(tensor)
    if len(found) != 1 or is_output(graph, tensor) or not any(found[0][0] is node for node in graph.nodes):
        return None
    return found[0][0]


def give(node: gs.Node, index: int, array: NDArray[np.generic], name: str) -> None:
    """Let input ``index`` of the node (its next one, if it has fewer) be a new constant.

    A new one, never a change in place: the old constant may have other readers.
    """
    constant = gs.Constant(name, np.ascontiguousarray(array))
    if index < len(node.inputs):
        node.inputs[index] = constant
    else:
        node.inputs.append(constant)


def data_inputs(node: gs.Node) -> list[int]:
    """Indices of the inputs that carry data: all of a sum's or a concat's, the first of every other operator's."""
    if node.op in ("Add", "Sub", "Mul", "Div", "Concat", "Sum", "Max", "Min", "MatMul"):
        return list(range(len(node.inputs)))
    return [0] if node.inputs else []


def data_outputs(node: gs.Node) -> list[int]:
    """Indices of the outputs that carry data: all parts of a split, the first of every other operator's."""
    return list(range(len(node.outputs))) if node.op == "Split" else [0]


def bypass(graph: gs.Graph, node: gs.Node, index: int = 0) -> None:
    """Remove a node of one output: what made its input ``index`` now makes its output.

    The output tensor survives, so the names and types of graph outputs do.
    """
    source, result = node.inputs[index], node.outputs[0]
    maker = producer(source)
    if maker is None or len(readers(source)) != 1 or is_output(graph, source):
        raise Declined("its input has other readers")
    maker.outputs[maker.outputs.index(source)] = result
    node.inputs.clear()
    node.outputs.clear()


def skip(graph: gs.Graph, node: gs.Node, index: int = 0) -> None:
    """Remove a node of one output: what reads it now reads its input ``index``.

    The input survives, whoever else reads it; where the output is one of the graph, that one does. Raises Declined
    where both are outputs of the graph, or one is an output and the other an input.
    """
    source, result = node.inputs[index], node.outputs[0]
    if is_output(graph, result):
        maker = producer(source)
        if maker is None or is_output(graph, source):
            raise Declined("an output of the model is no other tensor under another name")
        for reader, i in readers(source):
            reader.inputs[i] = result
        maker.outputs[maker.outputs.index(source)] = result
    else:
        for reader, i in readers(result):
            reader.inputs[i] = source
    node.inputs.clear()
    node.outputs.clear()


class Names:
    """Gives names that no tensor or node of a graph has, nor of the bodies in it, which see the tensors outside."""

    def __init__(self, graph: gs.Graph) -> None:
        self._taken = set(every_tensor(graph)) | {node.name for node in every_node(graph)}

    def fresh(self, base: str) -> str:
        """``base``, or the first of base_1, base_2, ... that is free; it is taken from now on."""
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name


def subgraph_nodes(node: gs.Node) -> Iterator[gs.Node]:
    """Every node inside the bodies of an If, Loop or Scan."""
    for attr in node.attrs.values():
        if isinstance(attr, gs.Graph):
            for inner in attr.nodes:
                yield inner
                yield from subgraph_nodes(inner)


def every_node(graph: gs.Graph) -> Iterator[gs.Node]:
    """The nodes of the graph, each followed by those inside its bodies."""
    for node in graph.nodes:
        yield node
        yield from subgraph_nodes(node)


def every_tensor(graph: gs.Graph) -> dict[str, gs.Tensor]:
    """Tensors by name, those in bodies included; a name that two bodies use for different tensors has one of them."""
    inside = (tensor for node in every_node(graph) for tensor in (*node.inputs, *node.outputs) if not tensor.is_empty())
    return {**{tensor.name: tensor for tensor in inside}, **graph.tensors()}


def tidy(graph: gs.Graph) -> None:
    """Drop what nothing reads, keep every input of the interface, and sort."""
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
