"""Integers of 2 and 4 bits, packed as ONNX has them: the first element in the lowest bits of a byte.

numpy has no such types, and onnx-graphsurgeon cannot export them. In a graph such a constant holds 8-bit integers,
``export_dtype`` says what it is to be, and it is packed while the graph is exported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxq.graph import producer
from onnxq.scheme import Integers, Scheme

PACKED: dict[int, int] = {
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.UINT4: 4,
    onnx.TensorProto.INT2: 2,
    onnx.TensorProto.UINT2: 2,
}
"""ONNX's types, and their bits."""
OPSETS = {4: 21, 2: 25}
"""The first opset whose DequantizeLinear and Cast have a type, by its bits."""


class _PackedValues(LazyValues):  # type: ignore[misc]  # what graphsurgeon exports as it is
    """A tensor of a type that numpy does not have."""

    def __init__(self, tensor: onnx.TensorProto) -> None:  # its own init does not know all types
        self.tensor, self.shape, self.dtype = tensor, tuple(tensor.dims), tensor.data_type
        self.nbytes = len(tensor.raw_data)


def packed_type(scheme: Scheme, narrowest: int = 2) -> int | None:
    """ONNX's type of at least ``narrowest`` bits that holds the integers of the scheme, if one of fewer than 8 does."""
    bits = next((bits for bits in sorted(OPSETS) if bits >= max(narrowest, scheme.bits)), None)
    return None if bits is None else int(getattr(onnx.TensorProto, f"{'' if scheme.signed else 'U'}INT{bits}"))


def type_name(packed: int) -> str:
    """``INT4``, ``UINT2``, ..."""
    return str(onnx.TensorProto.DataType.Name(packed))


def packed_constant(name: str, integers: Integers, packed: int) -> gs.Constant:
    """A constant of a packed type, whose ``values`` stay 8-bit integers."""
    return gs.Constant(name, np.asarray(integers), export_dtype=packed)


def packed_behind(tensor: gs.Tensor) -> gs.Tensor:
    """The packed constant that a Cast makes ``tensor`` of, or else the tensor itself."""
    maker = producer(tensor)
    unpacks = maker is not None and maker.op == "Cast" and getattr(maker.inputs[0], "export_dtype", None) in PACKED
    return maker.inputs[0] if maker is not None and unpacks else tensor


def pack(name: str, integers: NDArray[Any], packed: int) -> onnx.TensorProto:
    """``integers``, of which ``packed`` can hold each, as a tensor of ONNX."""
    bits = PACKED[packed]
    each, mask = 8 // bits, (1 << bits) - 1
    flat = np.asarray(integers).ravel().astype(np.uint8) & mask
    rows = np.pad(flat, (0, -flat.size % each)).reshape(-1, each) << (bits * np.arange(each, dtype=np.uint8))
    data = np.bitwise_or.reduce(rows, axis=1).astype(np.uint8).tobytes()
    return onnx.TensorProto(name=name, data_type=packed, dims=integers.shape, raw_data=data)


@contextmanager
def packed_constants(graph: gs.Graph) -> Iterator[None]:
    """Within, constants of packed types are what graphsurgeon can export."""
    found = [
        (tensor, tensor.values)
        for tensor in graph.tensors().values()
        if isinstance(tensor, gs.Constant) and tensor.export_dtype in PACKED
    ]
    for tensor, integers in found:
        proto = pack(tensor.name, integers, tensor.export_dtype)
        tensor.values = _PackedValues(proto)
    try:
        yield
    finally:
        for tensor, integers in found:
            tensor.values = integers


def unpack_constants(graph: gs.Graph) -> None:
    """Let constants of packed types, in a graph that was imported, be what ``packed_constant`` makes, and 8-bit floats
    what they are, which graphsurgeon would read as wider ones."""
    for tensor in graph.tensors().values():
        proto = getattr(tensor._values, "tensor", None) if isinstance(tensor, gs.Constant) else None
        if isinstance(proto, onnx.TensorProto) and proto.data_type == onnx.TensorProto.FLOAT8E4M3FN:
            tensor.values, tensor.data_location = onnx.numpy_helper.to_array(proto), None
        if isinstance(proto, onnx.TensorProto) and proto.data_type in PACKED:
            signed = proto.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.INT2)
            tensor.values = onnx.numpy_helper.to_array(proto).astype(np.int8 if signed else np.uint8)
            tensor.data_location, tensor._export_dtype = None, proto.data_type
