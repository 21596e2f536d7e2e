"""Q/DQ put by hand where a test wants them, rightly or wrongly: what a linter is tried on.

handmade(parse("g (float[1,16,8,8] x) => ... { c = Conv(x, w) }", w=normal(16, 16, 1, 1)), x=U8, w=I8.along(0))
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from onnxq.execute import Session, returning
from onnxq.samples import input_specs, open_samples
from onnxq.testing import Array


@dataclass(frozen=True)
class Grid:
    """How a tensor is quantized. ``zero_point=None`` leaves it out; ``zero_point="fit"`` is where the range wants it.

    ``scale`` replaces the one that fits; ``stored``: weights are kept as integers, not as floats behind a Q.
    """

    dtype: str = "int8"
    zero_point: int | str | None = 0
    axis: int | None = None
    block: int = 0
    scale: float | None = None
    stored: bool = True

    def along(self, axis: int) -> "Grid":
        return replace(self, axis=axis)

    def fit(self, values: Array) -> tuple[Array, Array | None]:
        """Scale and zero point of the grid that holds ``values``."""
        low, high = _limits(self.dtype)
        least, most = np.minimum(self._over(values, np.min), 0), np.maximum(self._over(values, np.max), 0)
        if self.zero_point == "fit":
            scale = np.maximum(most - least, 1e-6) / (high - low)
            zero = np.rint(low - least / scale)
        else:
            zero = np.full_like(least, 0 if self.zero_point is None else float(self.zero_point))
            reach = [np.divide(most, high - zero)] + ([np.divide(least, low - zero)] if np.all(zero > low) else [])
            scale = np.maximum(np.max(reach, axis=0), 1e-6)
        if self.scale is not None:
            scale = np.full_like(scale, self.scale)
        return scale.astype(np.float32), None if self.zero_point is None else zero

    def _over(self, values: Array, reduce: object) -> Array:
        if self.axis is None:
            return np.asarray(reduce(values))  # type: ignore[operator]
        if self.block:
            shape = [*values.shape]
            shape[self.axis : self.axis + 1] = [shape[self.axis] // self.block, self.block]
            return np.asarray(reduce(values.reshape(shape), axis=self.axis + 1))  # type: ignore[operator]
        others = tuple(axis for axis in range(values.ndim) if axis != self.axis % values.ndim)
        return np.asarray(reduce(values, axis=others))  # type: ignore[operator]


U8, I8, I32 = Grid("uint8", "fit"), Grid("int8"), Grid("int32")
POSITIVE = Grid("uint8", 0)


def _limits(dtype: str) -> tuple[float, float]:
    if dtype.startswith("float8"):
        return -448.0, 448.0
    bits = int(dtype.lstrip("uint"))
    return (0, 2.0**bits - 1) if dtype.startswith("u") else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)


def handmade(model: onnx.ModelProto, grids: Mapping[str, Grid] | None = None, **more: Grid) -> onnx.ModelProto:
    """The model with a Q/DQ pair on every tensor named; ``"tensor>node"`` is for that reader only.

    Scales fit what 4 random samples, or the weight, hold. Weights get a DequantizeLinear alone, unless not ``stored``.
    """
    wanted = {**(grids or {}), **more}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    held = {tensor.name: tensor for tensor in made.graph.initializer}
    seen = _seen(model, {key.partition(">")[0] for key in wanted} - held.keys())
    for key, grid in wanted.items():
        name, _, reader = key.partition(">")
        values = onnx.numpy_helper.to_array(held[name]) if name in held else seen[name]
        _quantize(made, name, reader, grid, values, name in held)
    _sort(made.graph)
    return made


def _seen(model: onnx.ModelProto, names: set[str]) -> dict[str, Array]:
    samples = open_samples("random", input_specs(model), limit=4)
    session = Session(returning(model, names), optimize=False)
    parts = [{**part.feeds, **session.run(part.feeds)} for part in samples.batches(1)]
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in names}


def _quantize(model: onnx.ModelProto, name: str, reader: str, grid: Grid, values: Array, constant: bool) -> None:
    graph, tag = model.graph, f"{name}.{reader}" if reader else name
    scale, zero = grid.fit(values)
    kind = onnx.TensorProto.DataType.Value(grid.dtype.upper())
    graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{tag}.scale"))
    inputs = [f"{tag}.scale"]
    if zero is not None:
        graph.initializer.append(onnx.helper.make_tensor(f"{tag}.zero", kind, zero.shape, zero.ravel()))
        inputs.append(f"{tag}.zero")
    attrs: dict[str, Any] = {"axis": grid.axis} if grid.axis is not None else {}
    attrs |= {"block_size": grid.block} if grid.block else {}
    for node in graph.node:
        if reader in ("", node.name):
            node.input[:] = [f"{tag}.dq" if entry == name else entry for entry in node.input]
    source, result = name, f"{tag}.dq"
    if not reader and any(output.name == name for output in graph.output):
        source, result = f"{name}.float", name
        for node in graph.node:
            node.output[:] = [source if entry == name else entry for entry in node.output]
            node.input[:] = [name if entry == f"{tag}.dq" else entry for entry in node.input]
    if constant and grid.stored:
        low, high = _limits(grid.dtype)
        spread = [_spread(entry, values, grid) for entry in (scale, np.zeros_like(scale) if zero is None else zero)]
        integers = np.clip(np.rint(values / spread[0]) + spread[1], low, high)
        if grid.dtype.startswith("float8"):
            integers = values / spread[0]
        graph.initializer.append(onnx.helper.make_tensor(f"{tag}.q", kind, values.shape, integers.ravel()))
    else:
        graph.node.append(onnx.helper.make_node("QuantizeLinear", [source, *inputs], [f"{tag}.q"], f"{tag}/Q", **attrs))
    graph.node.append(onnx.helper.make_node("DequantizeLinear", [f"{tag}.q", *inputs], [result], f"{tag}/DQ", **attrs))


def _spread(entry: Array, values: Array, grid: Grid) -> Array:
    if grid.axis is None:
        return entry
    if grid.block:
        return np.repeat(entry, grid.block, grid.axis)
    shape = [1] * values.ndim
    shape[grid.axis] = -1
    return entry.reshape(shape)


def _sort(graph: onnx.GraphProto) -> None:
    """Nodes in an order in which each comes after those it reads."""
    waiting = list(graph.node)
    known = {entry.name for entry in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    ordered = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        ordered += ready
        known |= {output for node in ready for output in node.output}
        waiting = [node for node in waiting if all(node is not other for other in ready)]
    del graph.node[:]
    graph.node.extend(ordered)
