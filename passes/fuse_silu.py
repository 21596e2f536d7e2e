"""``x * Sigmoid(x)`` becomes one ``QuickGelu`` of onnxruntime's own domain, with ``alpha = 1``: SiLU.

onnxruntime fuses the two itself, but not behind a DequantizeLinear: it gives each reader one of its own first, and then
dequantizes twice, computes the sigmoid and the product apart, and is slower than the FP32 model.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from onnxq.graph import sole_producer
from onnxq.rewriting import concluded
from onnxq.workspace import Workspace

DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class FuseSilu:
    """Fuse every SiLU; a lowering pass of onnxruntime."""

    name: ClassVar[str] = "fuse_silu"

    def __call__(self, workspace: Workspace) -> bool:
        graph = workspace.graph
        fused = [fuse(graph, node) for node in list(graph.nodes) if node.op == "Mul"]
        told = f"{sum(fused)} pairs of Sigmoid and Mul became one {DOMAIN}.QuickGelu"
        return concluded(workspace, self.name, sum(fused), told)


def fuse(graph: gs.Graph, product: gs.Node) -> bool:
    """Whether ``product`` is a SiLU; it is one operator then."""
    for index, tensor in enumerate(product.inputs):
        other = product.inputs[1 - index]
        sigmoid = sole_producer(graph, tensor, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] is other:
            product.op, product.domain, product.attrs = "QuickGelu", DOMAIN, {"alpha": 1.0}
            product.inputs.clear()
            product.inputs.append(other)
            return True
    return False
