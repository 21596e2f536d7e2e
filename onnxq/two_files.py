"""A model over 2 GiB is written as two files: the graph, and beside it its large weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from onnxq import outside
from onnxq.errors import OutputError
from onnxq.files import Content
from onnxq.outside import entries, is_outside, numbers, outsiders, raw

ALIGNMENT = 4096  # bytes, of a page: engines map the weights into memory


def data_file(path: Path) -> Path:
    """Where the weights of the model at ``path`` are."""
    return path.with_name(f"{path.name}.data")


def written(model: onnx.ModelProto, path: Path) -> dict[Path, Content]:
    """What both files will hold, weights first. Raises OutputError where a file that is no part of the model at
    ``path`` would be lost."""
    data = data_file(path)
    read = {Path(entries(tensor)["location"]) for tensor in outsiders(model)}
    if data.resolve() in read or (data.exists() and not path.exists()):
        raise OutputError(f"{data}: holds the weights of another model, and would be lost. Choose another name.")
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    large = [tensor for tensor in graph.graph.initializer if is_outside(tensor) or len(tensor.raw_data) > outside.SMALL]
    arrays = [numbers(tensor) for tensor in large]
    offset = 0
    for tensor, array in zip(large, arrays, strict=True):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", data.name), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        offset += _padded(array.nbytes)
    return {data: _aligned(arrays), path: graph.SerializeToString(deterministic=True)}


def _aligned(arrays: list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]) -> Iterator[bytes | memoryview]:
    for array in arrays:
        yield raw(array)
        yield bytes(_padded(array.nbytes) - array.nbytes)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
