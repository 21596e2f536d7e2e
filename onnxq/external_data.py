"""Tensors kept in files beside the model: read in, or of a model over 2 GiB left where they are.

Models are untrusted: a path that leaves the model's folder is refused, links followed.
"""

from pathlib import Path

import onnx
from onnx.external_data_helper import _get_all_tensors, load_external_data_for_tensor

from onnxq import outside
from onnxq.errors import ModelError
from onnxq.normalise import first_line
from onnxq.outside import Place, byte_size, entries, is_outside, reference

TYPES = ("FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
MAPPABLE = frozenset(map(onnx.TensorProto.DataType.Value, TYPES))
"""Whose numbers are in a file as numpy has them in memory."""


def settle_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read what lies in other files into ``model``, which is from ``path``; above ``outside.LIMIT`` the large
    initializers stay outside, with a place that is checked. Raises ModelError."""
    tensors = [tensor for tensor in _get_all_tensors(model) if is_outside(tensor)]
    files = [file_of(tensor, path) for tensor in tensors]
    initializers = list(model.graph.initializer)  # of the graph itself; tensors in bodies are read in
    large = {id(tensor) for tensor in initializers if _large(tensor)}
    if model.ByteSize() + sum(byte_size(tensor) for tensor in tensors if id(tensor) in large) <= outside.LIMIT:
        large = set()
    for tensor, file in zip(tensors, files, strict=True):
        location = entries(tensor).get("location", "")
        try:
            if id(tensor) in large:
                tensor.CopyFrom(_checked(tensor, file))
            else:
                load_external_data_for_tensor(tensor, str(path.resolve().parent))
                tensor.ClearField("data_location")
                tensor.ClearField("external_data")
        except (OSError, RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"{path}: the data of tensor {tensor.name!r} cannot be read from {location!r}: {first_line(error)}. "
                "Copy the data file beside the model."
            ) from error


def _large(tensor: onnx.TensorProto) -> bool:
    return is_outside(tensor) and tensor.data_type in MAPPABLE and byte_size(tensor) >= outside.SMALL


def file_of(tensor: onnx.TensorProto, path: Path) -> Path:
    """Where a tensor of the model at ``path`` is. Raises ModelError if that is outside of the model's folder."""
    folder, location = path.resolve().parent, entries(tensor).get("location", "")
    try:
        file = (folder / location).resolve()
        special = file.exists() and not file.is_file()  # of what is missing more is said when it is read
    except (OSError, RuntimeError, ValueError):
        file, special = folder, True
    if not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: tensor {tensor.name!r} wants its data from {location!r}, outside the model's folder. "
            "Move the data beside the model and export again."
        )
    if special:
        raise ModelError(
            f"{path}: the data of tensor {tensor.name!r} cannot be read from {location[:100]!r}: that is no file. "
            "Copy the data file beside the model."
        )
    return file


def _checked(tensor: onnx.TensorProto, file: Path) -> onnx.TensorProto:
    """The tensor with the file it is in by its full name. Raises ValueError or OSError where it is not all there."""
    said, size = entries(tensor), byte_size(tensor)
    offset, length = int(said.get("offset") or 0), int(said.get("length") or size)
    if length != size:
        raise ValueError(f"{length} bytes are there, and its shape takes {size}")
    if not 0 <= offset <= file.stat().st_size - size or not file.is_file():
        raise ValueError(f"{size} bytes from {offset} on are not in the file")
    return reference(tensor.name, tensor.data_type, tuple(tensor.dims), Place(file, offset))
