"""A bias becomes integers on a grid of its own, as narrow as a weight's, stored behind a DequantizeLinear.

Vitis AI's DPU has 8-bit biases by powers of two (MQBench, docs/source/user_guide/hardware/vitis.rst).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.constants import best_grid, reach
from onnxq.graph import Names, has_bias, is_constant, producer, tidy
from onnxq.scheme import Scheme, quantize
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class RoundBias:
    """For every linear layer with a quantized weight; runs after ``insert_qdq``."""

    scheme: Scheme
    name: ClassVar[str] = "round_bias"

    def __call__(self, workspace: Workspace) -> bool:
        names, done = Names(workspace.graph), 0
        for node in list(workspace.graph.nodes):
            if node.op in ("Conv", "ConvTranspose", "Gemm") and has_bias(node) and is_constant(node.inputs[2]):
                maker = producer(node.inputs[1])
                if maker is not None and maker.op == "DequantizeLinear":
                    round_bias(workspace.graph, names, node, self.scheme)
                    done += 1
        tidy(workspace.graph)
        return done > 0


def round_bias(graph: gs.Graph, names: Names, node: gs.Node, scheme: Scheme) -> None:
    """Put the node's bias behind a DequantizeLinear of its own."""
    bias = node.inputs[2]
    values = np.asarray(bias.values, np.float32)
    params = best_grid(values, scheme, reach(values, scheme))
    result = gs.Variable(names.fresh(f"{bias.name}/dequantized"), np.float32, values.shape)
    inputs = [
        gs.Constant(names.fresh(f"{bias.name}/quantized"), quantize(values, params)),
        gs.Constant(names.fresh(f"{bias.name}/scale"), params.scale),
        gs.Constant(names.fresh(f"{bias.name}/zero_point"), params.zero_point),
    ]
    name = names.fresh(f"{bias.name}/DequantizeLinear")
    graph.nodes.append(gs.Node("DequantizeLinear", name, inputs=inputs, outputs=[result]))
    node.inputs[2] = result
