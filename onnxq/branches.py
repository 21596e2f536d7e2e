"""An If whose condition is constant becomes the branch that it takes."""

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import STANDARD, Names, is_constant


def take_branches(graph: gs.Graph) -> int:
    """Those of the graph, and those that come to light in the branches; how many."""
    index = taken = 0
    while index < len(graph.nodes):
        node = graph.nodes[index]
        if node.op == "If" and node.domain in STANDARD and is_constant(node.inputs[0]):
            branch = node.attrs["then_branch" if np.any(node.inputs[0].values) else "else_branch"]
            graph.nodes[index : index + 1] = _moved(graph, node, branch)
            taken += 1
        else:
            index += 1
    return taken


def _moved(graph: gs.Graph, node: gs.Node, branch: gs.Graph) -> list[gs.Node]:
    """The nodes of the branch, which make what the node made; what they call their tensors may be taken outside."""
    moved, names = list(branch.nodes), Names(graph)
    for inner in moved:
        inner.name = names.fresh(inner.name)
    made = [tensor for inner in moved for tensor in inner.outputs if not tensor.is_empty()]
    held = {id(tensor): tensor for inner in moved for tensor in inner.inputs if is_constant(tensor)}
    outside = {id(tensor) for tensor in graph.tensors().values()}
    for tensor in (*made, *(tensor for tensor in held.values() if id(tensor) not in outside)):
        tensor.name = names.fresh(tensor.name)
    for result, found in zip(list(node.outputs), branch.outputs, strict=True):
        moved.append(gs.Node("Identity", names.fresh(f"{node.name}/{result.name}"), inputs=[found], outputs=[]))
        result.inputs.clear()
        moved[-1].outputs.append(result)
    node.inputs.clear()
    return moved
