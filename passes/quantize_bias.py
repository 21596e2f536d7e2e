"""A bias becomes int32 on the grid ``activation scale * weight scale``, the one on which products are summed.

onnxruntime has an integer Gemm only with such a bias (Jacob et al. 2018, arXiv 1712.05877, eq. 4).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import Names, has_bias, per_channel, producer, tidy, values
from onnxq.scheme import SMALLEST_SCALE
from onnxq.workspace import Workspace

LARGEST = 2**31 - 1


@dataclass(frozen=True)
class QuantizeBias:
    """For every Conv and Gemm between quantized activation and weight; runs after ``insert_qdq``."""

    name: ClassVar[str] = "quantize_bias"

    def __call__(self, workspace: Workspace) -> bool:
        names, done = Names(workspace.graph), 0
        for node in list(workspace.graph.nodes):
            if node.op in ("Conv", "Gemm") and has_bias(node) and not _is_dequantized(node.inputs[2]):
                try:
                    done += quantize_bias(workspace.graph, names, node)
                except Declined as reason:
                    workspace.ledger.add("declined", self.name, node.name, str(reason), node.op)
        tidy(workspace.graph)
        return done > 0


def quantize_bias(graph: gs.Graph, names: Names, node: gs.Node) -> bool:
    """Whether the node has quantized operands, so that its bias was put behind a DequantizeLinear. Raises Declined."""
    if not all(map(_is_dequantized, node.inputs[:2])):
        return False
    scales = [np.asarray(tensor.inputs[0].inputs[1].values, np.float64) for tensor in node.inputs[:2]]
    scale = np.asarray(np.maximum(scales[0] * scales[1], SMALLEST_SCALE), np.float32)
    bias = per_channel(values(node.inputs[2], "bias"), scale.size if scale.ndim else _width(node))
    integers = np.rint(bias / scale)
    if np.abs(integers).max(initial=0) > LARGEST:
        raise Declined("its bias does not fit 32 bits, so it stays float")
    name = node.inputs[2].name
    stored = gs.Constant(names.fresh(f"{name}/quantized"), integers.astype(np.int32))
    result = gs.Variable(names.fresh(f"{name}/dequantized"), np.float32, bias.shape)
    grid = gs.Constant(names.fresh(f"{name}/scale"), scale)
    attrs = {"axis": 0} if scale.ndim else {}
    graph.nodes.append(
        gs.Node("DequantizeLinear", names.fresh(f"{name}/DequantizeLinear"), attrs, [stored, grid], [result])
    )
    node.inputs[2] = result
    return True


def _is_dequantized(tensor: gs.Tensor) -> bool:
    maker = producer(tensor)
    return maker is not None and maker.op == "DequantizeLinear"


def _width(node: gs.Node) -> int:
    """Output channels of a node whose weight has one scale."""
    shape = node.inputs[1].inputs[0].inputs[0].shape
    return int(shape[0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1])
