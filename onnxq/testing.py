"""What tests share: graphs written as text, with weights from numpy, and the workspace that passes work on."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.backends import backend_of
from onnxq.backends.engine import Layer
from onnxq.execute import Session
from onnxq.model import load_model, to_graph
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.result import BackendResult
from onnxq.samples import Data, input_specs, open_samples
from onnxq.sqnr import sqnr_db
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


def scaled(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """A weight [out, in, ...] of normal numbers that neither shrinks nor blows up what passes through it."""
    return normal(*shape, seed=seed, scale=1 / math.sqrt(math.prod(shape[1:])))


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


@dataclass(frozen=True)
class Outcome:
    """What one backend made of a model: the result without its engine, how each linear layer runs in the engine, and
    the SQNR of every float output against FP32, of the engine if it ran, else of the Q/DQ graph."""

    result: BackendResult
    layers: Mapping[str, Layer]
    sqnr_db: Mapping[str, float]

    @property
    def in_float(self) -> dict[str, str]:
        """Every linear layer that the engine does not compute in INT8, with what the plan or the engine says of it."""
        found = {name: layer for name, layer in self.layers.items() if layer.precision != "int8"}
        return {name: self.result.plan.floats.get(name, layer.detail) for name, layer in found.items()}


ENGINES = {"portable": ("onnxruntime", "openvino")}  # a layer that is float in one of them counts as float


@dataclass(frozen=True)
class Pattern:
    """A small graph as an exporter writes it: the ``body``, its constants, and what is fed.

    ``floats``: by backend, the linear layers that stay in float there, with words of the reason; ``least``: SQNR in dB.
    """

    body: str
    weights: Mapping[str, Array]
    feeds: Mapping[str, Array]
    inputs: str
    outputs: str = "float[N,C,A,B] y"
    floats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    opset: int = 17
    least: float = 28

    def model(self) -> onnx.ModelProto:
        text = f"g ({self.inputs}) => ({self.outputs}) {{ {self.body} }}"
        return parse(text, self.opset, **{name: self.weights[name] for name in self.weights if reads(text, name)})

    def holds_on(self, backend: str) -> Outcome:
        """Quantize, build and compare; fails where a layer is not what is expected, or an answer is too far off."""
        found = outcome(self.model(), self.feeds, backend)
        engines = (backend,) if backend in self.floats else ENGINES.get(backend, (backend,))
        expected = {name: word for engine in engines for name, word in self.floats.get(engine, {}).items()}
        assert found.in_float.keys() == expected.keys(), found.in_float
        assert all(expected[name] in reason for name, reason in found.in_float.items()), found.in_float
        assert all(found.result.plan.floats.values())
        kinds = {output.name: output.type.tensor_type.elem_type for output in found.result.model.graph.output}
        close = {name: db for name, db in found.sqnr_db.items() if kinds[name] == onnx.TensorProto.FLOAT}
        assert min(close.values()) > self.least, found.sqnr_db
        return found


def reads(text: str, name: str) -> bool:
    """Whether a name stands in the text of a graph, as a word of its own."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def outcome(model: onnx.ModelProto, feeds: Mapping[str, Array], backend: str) -> Outcome:
    """Quantize on ``feeds``, build the engine, read it back, and run it on the same feeds in one batch."""
    result = quantize(model, dict(feeds), backend=backend, options=Options(build=False))[backend]
    onnx.checker.check_model(result.model, full_check=True)
    engine = backend_of(backend).engine(result.model, {name: array.shape for name, array in feeds.items()})
    reading = engine.read_back()
    made = engine.run(feeds) if reading.executed else run(result.model, **feeds)
    layers = {layer.node: layer for layer in reading.layers}
    reference = run(load_model(model), **feeds)
    return Outcome(result, layers, {name: sqnr_db(reference[name], array) for name, array in made.items()})
