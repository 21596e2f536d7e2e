"""The first and the last layers of a graph, whose bits are mostly spared when all others get few."""

from collections.abc import Collection, Iterable, Iterator

import onnx_graphsurgeon as gs

SHAPES = ("Shape", "Size")  # what they make holds no values of what they read


def first_layers(graph: gs.Graph, layers: Collection[str]) -> frozenset[str]:
    """Of ``layers`` by name those that read an input of the graph with no other of them between."""
    found: set[str] = set()
    _forward(graph.nodes, {tensor.name for tensor in graph.inputs}, layers, found)
    return frozenset(found)


def last_layers(graph: gs.Graph, layers: Collection[str]) -> frozenset[str]:
    """Of ``layers`` by name those whose result reaches an output of the graph with no other of them between: a
    classifier has one, a detector has several."""
    found: set[str] = set()
    _backward(graph.nodes, {tensor.name for tensor in graph.outputs}, layers, found)
    return frozenset(found)


def _forward(nodes: Iterable[gs.Node], reached: set[str], layers: Collection[str], found: set[str]) -> None:
    for node in nodes:
        hit = any(tensor.name in reached for tensor in node.inputs)
        bodies = list(_bodies(node))
        for body in bodies:
            if hit:
                reached.update(tensor.name for tensor in body.inputs)
            _forward(body.nodes, reached, layers, found)
        if bodies:  # which may have layers in them
            hit = any(tensor.name in reached for body in bodies for tensor in body.outputs)
        if hit and node.name in layers:
            found.add(node.name)
        elif hit and node.op not in SHAPES:
            reached.update(tensor.name for tensor in node.outputs)


def _backward(nodes: Iterable[gs.Node], needed: set[str], layers: Collection[str], found: set[str]) -> None:
    for node in reversed(list(nodes)):
        if node.op in SHAPES or not any(tensor.name in needed for tensor in node.outputs):
            continue
        bodies = list(_bodies(node))
        for body in bodies:
            needed.update(tensor.name for tensor in body.outputs)
            _backward(body.nodes, needed, layers, found)
        if node.name in layers:
            found.add(node.name)
        elif not bodies or any(tensor.name in needed for body in bodies for tensor in body.inputs):
            needed.update(tensor.name for tensor in node.inputs)


def _bodies(node: gs.Node) -> Iterator[gs.Graph]:
    yield from (value for value in node.attrs.values() if isinstance(value, gs.Graph))
