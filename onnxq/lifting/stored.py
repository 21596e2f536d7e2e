"""The grids of Q/DQ nodes as a model has them, and constants that are kept as integers on such a grid."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from onnxq.errors import Declined
from onnxq.graph import held, optional
from onnxq.scheme import QParams, Scheme

Array = NDArray[Any]
DEPTH = 16  # nodes between a constant and a quantizer: exporters write a few
BOUNDS = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (*range(2, 17), 32)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in range(2, 17)},
}
"""The integers of every type that models are quantized to, the lowest and the highest. ONNX has some of the types;
the others are simulated."""


@dataclass(frozen=True)
class Grid:
    """Scale and zero point: scalars, one per channel of ``axis``, or one per ``block`` of channels along it.

    ``dtype`` is ONNX's name of the type that is stored, float8 included.
    """

    dtype: str
    scale: NDArray[np.floating]
    zero_point: NDArray[np.int64]
    axis: int | None = None
    block: int = 0

    @property
    def integer(self) -> bool:
        return self.dtype in BOUNDS

    def same(self, other: "Grid") -> bool:
        """Whether both put the same numbers on the same reals."""
        return (
            (self.dtype, self.axis, self.block) == (other.dtype, other.axis, other.block)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def params(self) -> QParams | None:
        """The grid in onnxq's own terms, or None for one that it has no Scheme for: blocks, int32, float8."""
        if not self.integer or self.block or self.dtype == "int32":
            return None
        signed, bits = not self.dtype.startswith("u"), int(self.dtype.lstrip("uint"))
        scheme = Scheme(signed, not self.zero_point.any(), bits, self.axis)
        return QParams(scheme, self.scale.astype(np.float32), self.zero_point.astype(scheme.dtype))

    def spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Scale and zero point of every element of a tensor of ``shape``."""
        return _spread(self.scale, self, shape), _spread(self.zero_point, self, shape)

    def quantize(self, values: Array) -> Array:
        """As QuantizeLinear: ``clip(round(x / scale) + zero_point)``, half to even."""
        scale, zero = self.spread(values.shape)
        low, high = BOUNDS[self.dtype]
        return np.asarray(np.clip(np.rint(values / scale).astype(np.int64) + zero, low, high))

    def describe(self) -> str:
        where = f"blocks of {self.block}" if self.block else "per tensor" if self.axis is None else "per channel"
        return f"{self.dtype}, {where}"


def _spread(array: Array, grid: Grid, shape: tuple[int, ...]) -> Array:
    if grid.axis is None:
        return np.broadcast_to(array.reshape(()), shape)
    if grid.block:
        repeated = np.repeat(array, grid.block, axis=grid.axis)
        return repeated[tuple(slice(size) for size in shape)]
    aligned = [1] * len(shape)
    aligned[grid.axis] = -1
    return np.broadcast_to(array.reshape(aligned), shape)


@dataclass(frozen=True)
class Stored:
    """A constant kept as integers. ``grid`` is None where elements have scales that no axis explains."""

    integers: Array
    scale: Array
    zero_point: Array
    dtype: str
    grid: Grid | None

    @staticmethod
    def on(grid: Grid, integers: Array) -> "Stored":
        wide = integers.astype(np.float32 if not grid.integer else np.int64)
        return Stored(wide, *grid.spread(integers.shape), grid.dtype, grid)

    def values(self) -> Array:
        """The reals it stands for, in the scale's own dtype."""
        real = (self.integers - self.zero_point).astype(np.float32) * self.scale.astype(np.float32)
        return np.asarray(real.astype(self.scale.dtype))

    def moved(self, node: gs.Node, index: int, others: list[Array], opset: int) -> "Stored | None":
        """What becomes of it in a node that only moves elements, or None where it does more."""
        parts = []
        for array in (self.integers, self.scale, self.zero_point):
            inputs = [*others[:index], np.ascontiguousarray(array), *others[index:]]
            made = evaluate(node, inputs, opset)
            if made is None:
                return None
            parts.append(made)
        integers, scale, zero = parts
        return Stored(integers, scale, zero, self.dtype, _collapse(scale, zero, self.dtype))


def _collapse(scale: Array, zero: Array, dtype: str) -> Grid | None:
    """The grid per tensor, or per channel of some axis, that gives every element its scale and zero point."""
    if not scale.size:
        return None
    first = tuple(0 for _ in scale.shape)
    if np.all(scale == scale[first]) and np.all(zero == zero[first]):
        return Grid(dtype, np.asarray(scale[first]), np.asarray(zero[first]))
    for axis in range(scale.ndim):
        line = tuple(slice(None) if a == axis else 0 for a in range(scale.ndim))
        grid = Grid(dtype, np.asarray(scale[line]), np.asarray(zero[line]), axis)
        if all(np.array_equal(*pair) for pair in zip(grid.spread(scale.shape), (scale, zero), strict=True)):
            return grid
    return None


def evaluate(node: gs.Node, inputs: list[Array], opset: int) -> Array | None:
    """The first output of a standard node on arrays, or None where it cannot be computed beforehand."""
    if node.domain not in (None, "", "ai.onnx"):
        return None
    names = [f"i{i}" if tensor.name else "" for i, tensor in enumerate(node.inputs)]
    try:
        proto = onnx.helper.make_node(node.op, names, ["y"], **node.attrs)
        types = [onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
        given = [
            onnx.helper.make_tensor_value_info(name, kind, None)
            for name, kind in zip(names, types, strict=True)
            if name
        ]
        graph = onnx.helper.make_graph([proto], "one", given, [onnx.ValueInfoProto(name="y")])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        feeds = {name: array for name, array in zip(names, inputs, strict=True) if name}
        made: Any = ReferenceEvaluator(model).run(None, feeds)
        return np.asarray(made[0])
    except Exception:  # whatever the evaluator cannot do is simply not folded
        return None


def resolve(tensor: gs.Tensor, opset: int, depth: int = DEPTH) -> Array | None:
    """The values of a tensor that depends on no input, or None; also where more than ``depth`` nodes make it."""
    if (values := held(tensor)) is not None:
        return values
    if not tensor.inputs or not depth:
        return None
    node = tensor.inputs[0]
    if not node.inputs or node.op in ("If", "Loop", "Scan") or node.op.startswith("Random"):
        return None
    known: list[Array] = []
    for entry in node.inputs:
        array = np.empty(0) if entry.is_empty() else resolve(entry, opset, depth - 1)
        if array is None:
            return None
        known.append(array)
    return evaluate(node, known, opset) if node.outputs[0] is tensor else None


def read_grid(node: gs.Node, rank: int | None, dtype: str | None, opset: int) -> Grid | None:
    """The grid of a QuantizeLinear or DequantizeLinear, or None if it is computed at run time.

    ``dtype`` is what the node reads (for DequantizeLinear) where it has no zero point to tell.
    """
    scale = resolve(node.inputs[1], opset)
    given = optional(node, 2)
    zero = None if given is None else resolve(given, opset)
    if scale is None or (given is not None and zero is None):
        return None
    if zero is not None:
        dtype = str(zero.dtype)
    elif dtype is None:
        kind = int(node.attrs.get("output_dtype", 0)) or onnx.TensorProto.UINT8
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind))
    block, axis = int(node.attrs.get("block_size", 0)), int(node.attrs.get("axis", 1))
    numbers = np.zeros(scale.shape, np.int64) if zero is None or dtype not in BOUNDS else zero.astype(np.int64)
    grid = Grid(dtype, scale, numbers, axis, block)
    if scale.size == 1 and not block:
        return replace(grid, scale=scale.reshape(()), zero_point=numbers.reshape(()), axis=None)
    if rank is None:
        return None if axis < 0 else grid
    return replace(grid, axis=axis + rank if axis < 0 else min(axis, rank - 1))


def simulated_grid(node: gs.Node, opset: int) -> Grid | None:
    """The grid of a QONNX Quant: x, scale, zero point, number of bits; None if it is computed at run time."""
    scale, zero, bits = (resolve(tensor, opset) for tensor in node.inputs[1:4])
    if scale is None or zero is None or bits is None:
        return None
    dtype = f"{'int' if node.attrs.get('signed', 1) else 'uint'}{int(bits.reshape(-1)[0])}"
    wide = [axis for axis, size in enumerate(scale.shape) if size > 1]
    if dtype not in BOUNDS or len(wide) > 1:
        raise Declined(f"its grid is {dtype} with scales of shape {list(scale.shape)}")
    zeros = np.broadcast_to(np.rint(zero).astype(np.int64), scale.shape)
    shape = (-1,) if wide else ()
    return Grid(dtype, scale.reshape(shape), zeros.reshape(shape), wide[0] if wide else None)
