"""Constants of a graph whose numbers stay in files: looked at through a map of the file, and written as references."""

from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxq import outside
from onnxq.outside import Place, is_outside, mapped, place, reference
from onnxq.scratch import spilled


class MappedValues(LazyValues):  # type: ignore[misc]  # what graphsurgeon loads when a constant is looked at
    """The numbers of a tensor that lies outside the model."""

    def load(self) -> object:
        return mapped(self.tensor)


def map_constants(graph: gs.Graph) -> None:
    """Let the constants of a graph that was imported see the files that they lie in."""
    for tensor in _constants(graph):
        proto = getattr(tensor._values, "tensor", None)  # graphsurgeon has no other way to ask without loading
        if isinstance(proto, onnx.TensorProto) and is_outside(proto):
            tensor.values, tensor.data_location = MappedValues(proto), None


def rest_constants(graph: gs.Graph) -> None:
    """Before a graph is exported: if it is too large for one message, or some of its constants lie outside, then all
    large ones are to be references, and new ones go to files."""
    large = _large(graph)
    if not any(_mapped(tensor) for tensor in large) and sum(t._values.nbytes for t in large) <= outside.LIMIT:
        return
    for tensor in large:
        if isinstance(tensor._values, MappedValues):
            continue
        values = tensor.values
        at = place(values) or place(spilled(values))
        assert at is not None  # what was spilled is in a file
        _refer(tensor, at)


def set_aside(graph: gs.Graph, at: Place) -> dict[str, NDArray[Any]]:
    """The large constants of a graph that are in memory, by name; in it references to ``at`` stand for them."""
    found = {}
    for tensor in _large(graph):
        if not isinstance(tensor._values, MappedValues) and tensor.values.dtype.isbuiltin == 1:
            found[tensor.name] = tensor.values
            _refer(tensor, at)
    return found


def _large(graph: gs.Graph) -> list[gs.Constant]:
    return [tensor for tensor in _constants(graph) if tensor._values.nbytes >= outside.SMALL and _plain(tensor)]


def _refer(tensor: gs.Constant, at: Place) -> None:
    dtype = onnx.helper.np_dtype_to_tensor_dtype(tensor.values.dtype)
    proto = reference(tensor.name, dtype, tensor.values.shape, at)
    tensor.values, tensor.data_location = MappedValues(proto), None


def _constants(graph: gs.Graph) -> list[gs.Constant]:
    return [tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant)]


def _plain(tensor: gs.Constant) -> bool:
    """Whether its numbers are written as they are, neither sparse nor in another type."""
    return not hasattr(tensor._values, "indices") and tensor.export_dtype == tensor.dtype


def _mapped(tensor: gs.Constant) -> bool:
    held = tensor._values
    return isinstance(held, MappedValues) or (not isinstance(held, LazyValues) and place(held) is not None)
