"""What a model wants to be fed: name, dtype and shape of each input, and whether axis 0 counts samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxq.errors import ModelError

Array: TypeAlias = NDArray[np.generic]
Dim: TypeAlias = int | str | None


@dataclass(frozen=True)
class InputSpec:
    """One graph input; a dimension is a number, a name such as ``"N"``, or ``None`` where it has neither."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return described(self.dtype, self.shape)


@dataclass(frozen=True)
class BatchAxis:
    """Whether axis 0 of all inputs counts samples together, and how many at a time when that is fixed."""

    common: bool
    fixed: int | None


def described(dtype: np.dtype[np.generic], shape: Sequence[Dim]) -> str:
    """A dtype and shape as one word: ``float32[N,3,416,416]``; a nameless axis 0 is ``N``, others ``?``."""
    dims = ["N?"[axis > 0] if dim is None else str(dim) for axis, dim in enumerate(shape)]
    return f"{dtype}[{','.join(dims)}]"


def input_specs(model: onnx.ModelProto) -> tuple[InputSpec, ...]:
    """The graph inputs that are not initializers, in order.

    Raises ModelError when one is not a tensor of a known dtype and rank, or when there is none.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    held |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    specs = tuple(_spec(value) for value in model.graph.input if value.name not in held)
    if not specs:
        raise ModelError("the model has no inputs, so no data can be run through it.")
    return specs


def batch_axis(inputs: Sequence[InputSpec]) -> BatchAxis:
    """The common batch axis: every input has an axis 0, and no two of these are fixed to different sizes."""
    fixed = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], int)}
    common = all(spec.shape for spec in inputs) and len(fixed) < 2
    size = next(iter(fixed)) if common and fixed else None
    return BatchAxis(common, size if isinstance(size, int) else None)


def _spec(value: onnx.ValueInfoProto) -> InputSpec:
    tensor = value.type.tensor_type
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(f"input {value.name!r} is a {kind}; onnxq feeds tensors only. Unpack it in the model.")
    if not tensor.HasField("shape") or tensor.elem_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f"input {value.name!r} has no dtype or shape. Export the model with typed inputs.")
    if tensor.elem_type not in onnx.TensorProto.DataType.values():
        raise ModelError(f"input {value.name!r} has dtype {tensor.elem_type}, which ONNX does not know. Is it damaged?")
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if dtype.isbuiltin != 1 and dtype.kind != "O":
        raise ModelError(
            f"input {value.name!r} is {dtype}, which no array can hold. Let the model cast it from float32."
        )
    return InputSpec(
        value.name,
        dtype,
        tuple(_dim(dim) for dim in tensor.shape.dim),
    )


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    # Some exporters write a dynamic dimension as 0 or -1.
    return dim.dim_value if dim.dim_value > 0 else dim.dim_param or None
