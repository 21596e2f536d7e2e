"""Why an operator that is no linear layer stays in float, in words a user understands."""

from collections.abc import Collection

import onnx_graphsurgeon as gs

from onnxq.backends.backend import Backend, Reads
from onnxq.graph import is_output, subgraph_nodes


def float_reason(graph: gs.Graph, node: gs.Node, backend: Backend, leading: Collection[str]) -> str:
    """``leading`` are the names of nodes that have a linear layer behind them."""
    if node.op in backend.refuses:
        return backend.refuses[node.op]
    if any(True for _ in subgraph_nodes(node)):
        return f"{node.op}: what is in its body computes in float"
    if any(is_output(graph, tensor) for tensor in node.outputs):
        return f"{node.op}: its result is an output of the model"
    if node.name not in leading:
        return f"{node.op}: follows the last linear layer, where scores and boxes are decoded"
    if node.op not in backend.rules or backend.rules[node.op].reads is Reads.ALONG:
        return f"{node.op}: left to {backend.title}, fused into a neighbour or in float"
    return f"{node.op}: a neighbour computes in float, so integers would only be converted back and forth"
