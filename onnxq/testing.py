"""What tests share: graphs written as text, with weights from numpy, and the workspace that passes work on."""

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.backends import backend_of
from onnxq.execute import Session
from onnxq.model import load_model, to_graph
from onnxq.samples import Data, input_specs, open_samples
from onnxq.workspace import Pass, Workspace

Array = NDArray[Any]


def parse(graph: str, opset: int = 17, **weights: Array) -> onnx.ModelProto:
    """The model of ``graph`` in ONNX's text form; names it reads and does not make are ``weights``."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {graph}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, with the nodes that have no name called after their first output."""
    for node in model.graph.node:
        node.name = node.name or node.output[0]
    return model


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> NDArray[np.float32]:
    """The same normal numbers at every call."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def workspace(model: onnx.ModelProto, samples: Data = "random", backend: str = "onnxruntime") -> Workspace:
    """What the pipeline would start with; the samples are at most 8."""
    source = load_model(model)
    return Workspace(to_graph(source), source, open_samples(samples, input_specs(source), limit=8), backend_of(backend))


def run(model: onnx.ModelProto | Workspace, /, **feeds: Array) -> dict[str, Array]:
    """Outputs by name, from onnxruntime, computed as the graph is written."""
    return Session(model.model() if isinstance(model, Workspace) else model, optimize=False).run(feeds)


def ops(graph: onnx.ModelProto | gs.Graph | Workspace) -> list[str]:
    """Operators in graph order."""
    if isinstance(graph, Workspace):
        graph = graph.graph
    return (
        [node.op_type for node in graph.graph.node]
        if isinstance(graph, onnx.ModelProto)
        else [node.op for node in graph.nodes]
    )


def changes_nothing(space: Workspace, step: Pass) -> bool:
    """Whether ``step`` says so, and the graph is byte for byte what it was."""
    before = space.model().SerializeToString(deterministic=True)
    return not step(space) and space.model().SerializeToString(deterministic=True) == before
