"""What follows the last linear layer, whatever it is named: decoding, scores, the choice of boxes."""

import onnx_graphsurgeon as gs

from onnxq.graph import HEAVY_OPS, RECURRENT_OPS, VIEWS, layout, producer, readers, subgraph_nodes

MOVES = VIEWS | {"Transpose"}


def before_a_layer(graph: gs.Graph) -> set[str]:
    """Names of the nodes whose results reach a linear layer or a recurrent one, in bodies of If and Loop too."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        onward = [reader for tensor in node.outputs for reader, _ in readers(tensor)]
        if any(_is_layer(reader) or reader.name in found for reader in onward):
            found.add(node.name)
    return found


def _is_layer(node: gs.Node) -> bool:
    heavy = node.op in HEAVY_OPS and not is_expectation(node)
    return heavy or node.op in RECURRENT_OPS or any(inner.op in HEAVY_OPS for inner in subgraph_nodes(node))


def after_a_layer(graph: gs.Graph) -> set[str]:
    """Names of the nodes that have a linear layer before them."""
    found: set[str] = set()
    for node in graph.nodes:
        makers = (maker for tensor in node.inputs for maker in tensor.inputs)
        if any(maker.op in HEAVY_OPS or maker.name in found for maker in makers):
            found.add(node.name)
    return found


def is_expectation(node: gs.Node) -> bool:
    """Whether a linear layer of one output sums up probabilities: the distance in bins of a distributional box head
    (generalized focal loss, arXiv 2006.04388, eq. 6)."""
    where = layout(node)
    if where is None or where.groups > 1 or node.inputs[where.index].shape[where.out_axis] != 1:
        return False
    maker = producer(node.inputs[1 - where.index])
    while maker is not None and maker.op in MOVES:
        maker = producer(maker.inputs[0])
    return maker is not None and maker.op == "Softmax"
