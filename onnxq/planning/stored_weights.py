"""Weights that are stored as integers for operators that compute in float: tables of embeddings and recurrent layers.

A model gets smaller by them, not faster. A row of ``W`` [directions, gates * hidden, ...] and of ``R`` has a scale, and
so has a column of a table, which the gathered rows share (ONNX operators LSTM, GRU, RNN and Gather).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.backends.backend import Backend
from onnxq.graph import is_constant
from onnxq.planning.tails import before_a_layer

AXIS = 1  # of the scales: gates and hidden units of a recurrent layer, columns of a table
SMALLEST = 4096  # values; less than that saves nothing


def stored_weights(graph: gs.Graph, backend: Backend) -> Iterator[tuple[gs.Node, int]]:
    """Every node with an input that is stored as integers.

    A table must serve a linear layer: one that is gathered while boxes are decoded holds anchors, not embeddings.
    """
    leading = before_a_layer(graph)
    for node in graph.nodes:
        if node.op == "Gather" and (node.attrs.get("axis", 0) != 0 or node.name not in leading):
            continue
        for index in backend.stores.get(node.op, ()):
            if (
                index < len(node.inputs)
                and is_constant(node.inputs[index])
                and worth_storing(node.inputs[index].values)
            ):
                yield node, index


def worth_storing(values: NDArray[Any]) -> bool:
    """Whether a constant is large enough, and holds numbers that integers can stand for."""
    large = values.ndim > AXIS and values.size >= SMALLEST
    return large and values.dtype == np.float32 and bool(np.isfinite(values).all())
