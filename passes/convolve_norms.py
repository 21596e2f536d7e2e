"""``x * k + s`` with ``k`` and ``s`` [channels, 1, 1] becomes ``Conv<group=channels>(x, k, s)`` of one pixel.

What is left of a batch norm that no layer could take, as in DenseNets and behind residual sums. onnxruntime has an
integer kernel for the convolution, which is 1.1 to 1.4 times as fast for the whole network, and none for a product or
a sum with a constant. OpenVINO fuses these, and is as fast with either; TensorRT fuses them into larger kernels.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.affine import affine
from onnxq.arrays import Vector
from onnxq.graph import Names, constant_operand, sole_reader
from onnxq.planning.eligibility import is_float32
from onnxq.planning.tails import after_a_layer, before_a_layer
from onnxq.rewriting import attempt, concluded
from onnxq.workspace import TOLERANCE, Workspace

SPREAD = 16.0  # of the factors: with one scale for all of them, 8 bits leave the smallest four


@dataclass(frozen=True)
class ConvolveNorms:
    """Every such pair on images between linear layers; a preparation of onnxruntime."""

    name: ClassVar[str] = "convolve_norms"
    tolerance: ClassVar[float] = TOLERANCE

    def __call__(self, workspace: Workspace) -> bool:
        graph, names = workspace.graph, Names(workspace.graph)
        between = after_a_layer(graph) & before_a_layer(graph)
        products = [node for node in graph.nodes if node.op == "Mul" and node.name in between]
        done = sum(attempt(workspace, self.name, node, convolve, graph, names, node) for node in products)
        told = f"{done} products and sums with constants became convolutions, which can be integer"
        return concluded(workspace, self.name, done, told)


def convolve(graph: gs.Graph, names: Names, product: gs.Node) -> bool:
    """Whether the product and the sum that alone reads it are one convolution now. Raises Declined."""
    total = sole_reader(graph, product.outputs[0])
    if total is None or total.op != "Add":
        return False
    index = constant_operand(product)
    factor, shift = _per_channel(product), _per_channel(total)
    if index is None or factor is None or shift is None or not _alike(factor):
        return False
    image, shape = product.inputs[1 - index], product.inputs[1 - index].shape
    if len(shift) not in (1, len(factor)) or len(factor) != shape[1] or not is_float32(image):
        return False
    weight = factor.astype(np.float32).reshape(-1, *[1] * (len(shape) - 1))
    bias = np.broadcast_to(shift.astype(np.float32), factor.shape)
    base = product.name
    given = [gs.Constant(names.fresh(f"{base}/{what}"), a.copy()) for what, a in (("weight", weight), ("bias", bias))]
    attrs = {"group": len(factor), "kernel_shape": [1] * (len(shape) - 2)}
    made = gs.Node("Conv", names.fresh(f"{base}/Conv"), attrs, [image, *given], [])
    result = total.outputs[0]
    total.outputs.clear()
    made.outputs.append(result)
    graph.nodes.insert(next(i for i, node in enumerate(graph.nodes) if node is product), made)
    return True


def _per_channel(node: gs.Node) -> Vector | None:
    """[channels], or one number, of a product or a sum with a constant on an image."""
    shape, given = node.outputs[0].shape, affine(node)
    if given is None or shape is None or not 3 <= len(shape) <= 5 or not (given.scalar or given.axis == 1):
        return None
    return given.factor if node.op == "Mul" else given.shift


def _alike(factor: Vector) -> bool:
    magnitude = np.abs(factor)
    return len(factor) > 1 and bool(magnitude.max() <= SPREAD * magnitude.min())
