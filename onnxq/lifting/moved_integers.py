"""Between quantizer and dequantizer a model may move integers: reshape, transpose, pool, pad. Reals move as well."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import MOVERS, data_inputs, data_outputs, optional, readers
from onnxq.lifting.float_constants import bare_name
from onnxq.lifting.known import Integers, Lifting, Record, detach
from onnxq.lifting.stored import Grid, Stored, read_grid, resolve


def move(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
    """A node that moves integers moves the reals; one that moves a constant is computed now."""
    indices = data_inputs(node)
    entries = [work.integers.get(id(node.inputs[i])) for i in indices]
    if entries and entries[0] is None and len(indices) == 1:
        return _move_constant(work, graph, node)
    grids = [entry.grid for entry in entries if entry is not None]
    first = grids[0] if grids else None
    if first is None or len(grids) != len(entries) or any(g is None or not g.same(first) for g in grids):
        return None
    found = [entry for entry in entries if entry is not None]
    if first.axis is not None and node.op != "Identity" and not isinstance(found[0].real, Stored):
        return None
    return _move_integers(work, graph, node, indices, found, first)


def _move_integers(
    work: Lifting, graph: gs.Graph, node: gs.Node, indices: list[int], entries: list[Integers], grid: Grid
) -> Sequence[gs.Node] | None:
    held = entries[0].real
    if isinstance(held, Stored) and len(entries) == 1:
        moved = _moved(work, node, held)
        if moved is not None and moved.grid is not None:
            made = node.outputs[0]
            name = entries[0].name
            work.integers[id(made)] = Integers(made, moved, moved.grid, entries[0].scale, graph, name)
            detach(node)
            return []
    for index, entry in zip(indices, entries, strict=True):
        real = entry.real
        if isinstance(real, Stored):
            real = work.constants.of(node.inputs[index], real, entry.name)
        node.inputs[index] = real
        work.records.append(Record(real, grid, ((node, index),)))
    _write_reals(work, graph, node, grid, entries[0].scale)
    return None


def _write_reals(work: Lifting, graph: gs.Graph, node: gs.Node, grid: Grid, scale: gs.Tensor) -> None:
    """From now on the node makes floats; its integers are known to stand for them."""
    if node.op == "Pad":
        _pad_in_reals(work, node, grid)
    for index in data_outputs(node):
        old = node.outputs[index]
        name = bare_name(old.name)
        real = gs.Variable(work.names.fresh(name if name != old.name else f"{name}/float"), np.float32, old.shape)
        node.outputs[index] = real
        work.integers[id(old)] = Integers(old, real, grid, scale, graph, old.name)


def _pad_in_reals(work: Lifting, node: gs.Node, grid: Grid) -> None:
    given = optional(node, 2)
    value = np.zeros(()) if given is None else resolve(given, work.opset)
    if value is None:
        raise Declined("the integer it pads with is computed at run time")
    while len(node.inputs) < 3:
        node.inputs.append(gs.Variable.empty())
    real = (float(value.reshape(())) - float(grid.zero_point)) * float(grid.scale)
    node.inputs[2] = gs.Constant(work.names.fresh(f"{node.name}/value"), np.asarray(real, np.float32))


def _move_constant(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
    source = node.inputs[0]
    known = work.constants.known(source)
    if known is not None:
        moved = _moved(work, node, known.stored)
        return None if moved is None else work.settle(graph, node, work.constants.new(moved, known.name))
    # Rows of an integer table are picked, and dequantized after that.
    if not isinstance(source, gs.Constant) or str(source.dtype) not in ("int8", "uint8"):
        return None
    reader = _dequantizer(node.outputs[0])
    grid = read_grid(reader, None, str(source.dtype), work.opset) if reader is not None else None
    if grid is None or grid.axis is not None or reader is None:
        return None
    stored = Stored.on(grid, np.asarray(source.values))
    node.inputs[0] = work.constants.of(source, stored, source.name)
    _write_reals(work, graph, node, grid, reader.inputs[1])
    return None


def _moved(work: Lifting, node: gs.Node, stored: Stored) -> Stored | None:
    if len(node.outputs) != 1 or node.op in ("MaxPool", "ReduceMax", "ReduceMin", "Pad", "Resize"):
        return None
    others = [np.empty(0) if entry.is_empty() else resolve(entry, work.opset) for entry in node.inputs[1:]]
    arrays = [array for array in others if array is not None]
    return stored.moved(node, 0, arrays, work.opset) if len(arrays) == len(others) else None


def _dequantizer(tensor: gs.Tensor) -> gs.Node | None:
    """The first DequantizeLinear behind a tensor, through nodes that move."""
    for node, _ in readers(tensor):
        if node.op == "DequantizeLinear":
            return node
        if node.op in MOVERS and (found := _dequantizer(node.outputs[0])) is not None:
            return found
    return None
