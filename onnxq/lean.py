"""A model without the numbers of its large weights, which lie beside it in memory: onnxruntime reads them there.

A message of 100 MB is written and read again in half a second, and takes as much memory twice. What lies outside in
files stays there, see ``outside.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import Message
from numpy.typing import NDArray

from onnxq import outside
from onnxq.mapped_constants import rest_constants, set_aside
from onnxq.model import exported
from onnxq.outside import Place, is_outside, raw, reference
from onnxq.reads import reads

BESIDE = Place(Path(outside.BESIDE), 0)


@dataclass(frozen=True)
class Lean:
    """``weights`` are those of the initializers of ``model`` whose numbers are not in it, nor in a file."""

    model: onnx.ModelProto
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @staticmethod
    def of(model: onnx.ModelProto) -> "Lean":
        """The same model, of which a copy without its large weights is made, and without those that nothing reads:
        onnxruntime drops these before it looks for their numbers, and then refuses them."""
        lean, weights = onnx.ModelProto(), {}
        needed = {value.name for value in (*model.graph.input, *model.graph.output)}
        needed = needed.union(*map(reads, model.graph.node))
        _copy(model, lean, but="graph")
        _copy(model.graph, lean.graph, but="initializer")
        for tensor in model.graph.initializer:
            if tensor.name not in needed:
                continue
            if _large(tensor):
                weights[tensor.name] = onnx.numpy_helper.to_array(tensor)
                tensor = reference(tensor.name, tensor.data_type, tuple(tensor.dims), BESIDE)
            lean.graph.initializer.append(tensor)
        return Lean(lean, weights)

    @staticmethod
    def export(graph: gs.Graph, like: onnx.ModelProto) -> "Lean":
        """As ``onnxq.model.export``; the weights are those of the graph, not copies."""
        rest_constants(graph)
        fresh = graph.copy()
        weights = set_aside(fresh, BESIDE)
        return Lean(exported(fresh, like), weights)

    def numbers(self, tensor: onnx.TensorProto) -> NDArray[Any]:
        """Of an initializer of the model, wherever they are."""
        found = self.weights.get(tensor.name)
        return outside.numbers(tensor) if found is None else found

    def whole(self) -> onnx.ModelProto:
        """A copy with the weights in it."""
        found = onnx.ModelProto()
        found.CopyFrom(self.model)
        for tensor in found.graph.initializer:
            if tensor.name in self.weights:
                tensor.ClearField("data_location")
                tensor.ClearField("external_data")
                tensor.raw_data = bytes(raw(self.weights[tensor.name]))
        return found


def _large(tensor: onnx.TensorProto) -> bool:
    if is_outside(tensor) or tensor.data_type == onnx.TensorProto.STRING:
        return False
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return dtype.isbuiltin == 1 and outside.byte_size(tensor) >= outside.SMALL


def _copy(source: Message, target: Message, but: str) -> None:
    """All fields ``but`` one."""
    for entry, value in source.ListFields():
        if entry.name != but:
            if isinstance(value, Message):
                getattr(target, entry.name).CopyFrom(value)
            elif entry.message_type is not None:
                getattr(target, entry.name).extend(value)
            else:
                setattr(target, entry.name, value)
