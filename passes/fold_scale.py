"""``Conv(x, w, b) * k`` becomes ``Conv(x, w * k, b * k)``, ``Conv(x, w, b) + s`` becomes ``Conv(x, w, b + s)``, and
``Conv(x * k, w)`` becomes ``Conv(x, w * k)``, for constants ``k`` and ``s``, one number or one a channel.

The same for Div and Sub, and for ConvTranspose, Gemm and MatMul; exporters leave them of input normalization (of which
the first layer takes the factor, not the shift), LayerScale, and biases. Two products or two sums become one.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.absorbing import fold_before, fold_behind
from onnxq.affine import ELEMENTWISE, Affine, affine
from onnxq.graph import constant_operand, producer, tidy
from onnxq.rewriting import attempt, concluded
from onnxq.views import SEEN_THROUGH
from onnxq.workspace import TOLERANCE, Workspace


@dataclass(frozen=True)
class FoldScale:
    """Fold every product and sum with a constant into the linear layer before it, else into those behind it."""

    name: ClassVar[str] = "fold_scale"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        done = 0
        while found := self._round(workspace):
            done += found
        told = f"{done} products and sums with constants folded into the layer beside them"
        return concluded(workspace, self.name, done, told)

    def _round(self, workspace: Workspace) -> int:
        """Forth, so that what is nearest to the layer before goes first, and back for the layers behind."""
        graph = workspace.graph
        nodes = [node for node in graph.nodes if node.op in ELEMENTWISE and constant_operand(node) is not None]
        found = sum(attempt(workspace, self.name, node, into_the_layer_before, workspace, node) for node in nodes)
        left = [node for node in reversed(nodes) if node.outputs]
        found += sum(attempt(workspace, self.name, node, into_the_layers_behind, workspace, node) for node in left)
        if found:
            tidy(graph)
        return found


def into_the_layer_before(workspace: Workspace, node: gs.Node) -> bool:
    """Whether it was folded. Raises Declined."""
    given, constant = affine(node), constant_operand(node)
    if given is None or constant is None or _is_bias(node, constant):
        return False
    return fold_before(workspace, node, 1 - constant, given)


def into_the_layers_behind(workspace: Workspace, node: gs.Node) -> bool:
    """Whether it was folded. Raises Declined."""
    given, constant = affine(node), constant_operand(node)
    if given is None or constant is None:
        return False
    source = node.inputs[1 - constant]
    if _ends_a_function(source) or _normalises_the_input(source, given):
        return False
    return fold_behind(workspace, node, 1 - constant, given)


def _is_bias(node: gs.Node, constant: int) -> bool:
    """Whether the node is the sum that a MatMul has for a bias."""
    maker = producer(node.inputs[1 - constant])
    return node.op == "Add" and maker is not None and maker.op == "MatMul"


def _normalises_the_input(tensor: gs.Tensor, given: Affine) -> bool:
    """Whether the tensor is an input, seen with other axes or scaled, that is centred, or pixels in integers.

    What is centred needs half as wide a symmetric grid. Of integers the grid would be these integers, from which
    OpenVINO concludes that there is nothing to quantize, and computes the first layer in float.
    """
    node = producer(tensor)
    while node is not None:
        if node.op == "Cast" and _is_integer(node.inputs[0]):
            return True
        index = constant_operand(node) if node.op in ELEMENTWISE else None
        if index is None and node.op not in (*SEEN_THROUGH, "Cast"):
            return False
        node = producer(node.inputs[0 if index is None else 1 - index])
    return not given.pure


def _is_integer(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and not isinstance(tensor.dtype, int) and np.dtype(tensor.dtype).kind in "iu"


def _ends_a_function(tensor: gs.Tensor) -> bool:
    """Whether the tensor is a product or a quotient of two activations, perhaps scaled: GELU, HardSwish, RMSNorm and
    LayerNorm written out end so, which engines recognise by the constants that follow."""
    node = producer(tensor)
    while node is not None and node.op in ELEMENTWISE and (index := constant_operand(node)) is not None:
        node = producer(node.inputs[1 - index])
    return node is not None and node.op in ("Mul", "Div")
