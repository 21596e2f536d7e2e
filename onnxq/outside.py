"""Weights that lie outside a model, in files, and are mapped into memory where they are, never read in whole.

A protobuf message holds 2 GiB. Of a larger model the large initializers stay ``EXTERNAL``, with an absolute path for
their ``location``: where it is from is checked once, when the model is read (``onnxq/external_data.py``). Smaller
tensors, such as shapes, are in the model, since what infers shapes looks at them.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.errors import OutputError

LIMIT = 2**31 - 1  # bytes of a protobuf message
BESIDE = "beside"  # where the numbers of a tensor are that are handed over in memory, see ``lean.py``
SMALL = 2**16  # bytes of a tensor that is always in the model


@dataclass(frozen=True)
class Place:
    """Where the numbers of a tensor are, one after the other as in memory."""

    file: Path
    offset: int


def is_outside(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def outsiders(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The initializers that lie outside the model."""
    return [tensor for tensor in model.graph.initializer if is_outside(tensor)]


def reference(name: str, dtype: int, shape: tuple[int, ...], place: Place) -> onnx.TensorProto:
    """A tensor whose numbers are at ``place``; ``dtype`` is ONNX's."""
    found = onnx.TensorProto(name=name, data_type=dtype, dims=shape, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", place.file), ("offset", place.offset), ("length", byte_size(found))):
        found.external_data.add(key=key, value=str(value))
    return found


def entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """What a tensor says of the file it is in: location, offset, length."""
    return {entry.key: entry.value for entry in tensor.external_data}


def byte_size(tensor: onnx.TensorProto) -> int:
    """Of the numbers of a tensor whose dtype numpy has."""
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def total_bytes(model: onnx.ModelProto) -> int:
    """Of the model and of what lies outside."""
    return model.ByteSize() + sum(byte_size(tensor) for tensor in outsiders(model))


def mapped(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The numbers of a tensor that lies outside, read-only, from the file when they are looked at."""
    said, dtype = entries(tensor), onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    found = np.memmap(said["location"], dtype, "r", int(said["offset"]), tuple(tensor.dims))
    return np.asarray(found)


def numbers(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The numbers of a tensor, wherever they are."""
    return mapped(tensor) if is_outside(tensor) else onnx.numpy_helper.to_array(tensor)


def raw(array: NDArray[Any]) -> memoryview:
    """The bytes of an array in order; those of dtypes that have no buffer of their own, such as bfloat16, too."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def place(array: NDArray[Any]) -> Place | None:
    """Where the numbers of an array that is a piece of a mapped file are, None for any other."""
    root: Any = array
    while root is not None and not isinstance(root, np.memmap):
        root = getattr(root, "base", None)
    if root is None or root.mode != "r" or root.filename is None or not array.flags.c_contiguous:
        return None
    return Place(Path(root.filename), root.offset + array.ctypes.data - root.ctypes.data)


def loadable(model: onnx.ModelProto) -> tuple[bytes, Mapping[str, str]]:
    """The model as onnxruntime takes it, and the entries of its configuration that let it map what lies outside.

    Raises OutputError where that is on several drives.
    """
    found = [tensor for tensor in outsiders(model) if entries(tensor)["location"] != BESIDE]
    if not found:
        return model.SerializeToString(), {}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    folders = {Path(entries(tensor)["location"]).parent for tensor in found}
    try:
        folder = os.path.commonpath(folders)
    except ValueError as error:  # Windows has no folder above two drives
        raise OutputError(
            f"{' and '.join(sorted(map(str, folders)))}: weights lie on several drives, and onnxruntime maps those of "
            "one. Let TMPDIR name a folder on the drive of the model."
        ) from error
    for tensor in outsiders(copy):
        for entry in tensor.external_data:
            if entry.key == "location" and entry.value != BESIDE:  # onnxruntime refuses absolute ones
                entry.value = os.path.relpath(entry.value, folder)
    return copy.SerializeToString(), {"session.model_external_initializers_file_folder_path": folder}


def complete(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all weights in it, or as it is where they are too large for that."""
    found = outsiders(model)
    if not found or total_bytes(model) > LIMIT:
        return model
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in outsiders(whole):
        tensor.raw_data = mapped(tensor).tobytes()
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    return whole


@dataclass(frozen=True)
class Outlined:
    """A model without the weights that lie outside, which are inputs instead: for what would look for their numbers,
    and need not."""

    model: onnx.ModelProto
    weights: tuple[onnx.TensorProto, ...]
    added: frozenset[str]

    @staticmethod
    def of(model: onnx.ModelProto) -> "Outlined":
        weights = tuple(outsiders(model))
        if not weights:
            return Outlined(model, (), frozenset())
        added = frozenset(tensor.name for tensor in weights) - {value.name for value in model.graph.input}
        outline = onnx.ModelProto()
        outline.CopyFrom(model)
        kept = [tensor for tensor in outline.graph.initializer if not is_outside(tensor)]
        del outline.graph.initializer[:]
        outline.graph.initializer.extend(kept)
        for tensor in weights:
            if tensor.name in added:
                value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                outline.graph.input.append(value)
        return Outlined(outline, weights, added)

    def filled(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """What was made of the outline, with the weights in their places; ``model`` is used up."""
        if self.weights:
            inputs = [value for value in model.graph.input if value.name not in self.added]
            del model.graph.input[:]
            model.graph.input.extend(inputs)
            model.graph.initializer.extend(self.weights)
        return model
