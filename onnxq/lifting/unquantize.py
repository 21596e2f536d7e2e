"""Take quantization out of a graph, node by node in its order, and remember every grid that was there."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import Declined, ModelError
from onnxq.graph import MOVERS, is_output, readers
from onnxq.lifting.clipped_integers import clip, narrowed_alike
from onnxq.lifting.dynamic import FUSED_OPS, INTEGER_OPS, expand_dynamic
from onnxq.lifting.emulate import aligned, dequantize_in_float, quantize_in_float, shift_in_float
from onnxq.lifting.implied import implied_activation
from onnxq.lifting.known import RUN_TIME, Integers, Lifting, Record, detach, rank
from onnxq.lifting.moved_integers import move
from onnxq.lifting.qoperator import EXPANSIONS, expand
from onnxq.lifting.stored import BOUNDS, Grid, Stored, read_grid, resolve, simulated_grid

DOMAINS = (None, "", "ai.onnx", "com.microsoft")


def unquantize(work: Lifting, graph: gs.Graph) -> None:
    """Replace the quantized nodes of a graph, and of the bodies in it."""
    done: list[gs.Node] = []
    todo = list(reversed(graph.nodes))
    while todo:
        node = todo.pop()
        if not node.outputs:  # taken in by another
            continue
        try:
            replacement = _node(work, graph, node)
        except Declined as reason:
            raise ModelError(
                f"node {node.name!r} ({node.op}) cannot be turned into float: {reason}. "
                "Take the model before it was quantized, or quantize it in Q/DQ format."
            ) from reason
        if replacement is None:
            done.append(node)
            for body in _bodies(node):
                unquantize(work, body)
        else:
            todo += reversed(replacement)
    graph.nodes[:] = done


def _node(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
    """What the node becomes; None if it stays."""
    if node.domain not in DOMAINS:
        return _simulated(work, graph, node) if node.op == "Quant" else None
    if node.op in EXPANSIONS:
        return expand(node, work.names)
    if node.op in INTEGER_OPS or node.op in FUSED_OPS:
        work.note("changed", node.name, "dynamic quantization: its activation had no grid to keep", node.op)
        return expand_dynamic(graph, node, work.names)
    if node.op == "QuantizeLinear":
        return _quantize(work, graph, node)
    if node.op == "DynamicQuantizeLinear":
        made = node.outputs[0]
        work.integers[id(made)] = Integers(made, node.inputs[0], None, node.outputs[1], graph, made.name)
        return None
    if node.op == "DequantizeLinear":
        return _dequantize(work, graph, node)
    if node.op == "Clip":
        return clip(work, graph, node)
    return move(work, graph, node) if node.op in MOVERS else None


def _quantize(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
    """Remember what its integers stand for; the node itself goes."""
    source, made, scale = node.inputs[0], node.outputs[0], node.inputs[1]
    values = resolve(source, work.opset)
    axes = values.ndim if values is not None else rank(source)
    grid = read_grid(node, axes, None, work.opset)
    real: gs.Tensor | Stored = source
    if grid is None:
        work.note("warning", node.name, RUN_TIME, node.op)
    elif values is not None and grid.integer:
        real = Stored.on(grid, grid.quantize(values))
    detach(node)
    activation = implied_activation(work.names, source, grid, work.opset) if grid and values is None else None
    if activation is not None:
        real = activation.outputs[0]
        reason = f"its grid starts at zero and so did the work of a {activation.op}, which is written out"
        work.note("changed", source.name, reason, activation.op)
    work.integers[id(made)] = Integers(made, real, grid, scale, graph, source.name)
    return [] if activation is None else [activation]


def _simulated(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
    """QONNX's Quant, which Brevitas exports: from reals to reals, in any number of bits."""
    source = node.inputs[0]
    values = resolve(source, work.opset)
    grid = simulated_grid(node, work.opset)
    if grid is None:
        work.note("warning", node.name, RUN_TIME, node.op)
        return work.settle(graph, node, source)
    if values is not None:
        integers = grid.quantize(values)
        if node.attrs.get("narrow", 0):
            integers = np.maximum(integers, BOUNDS[grid.dtype][0] + 1)
        return work.settle(graph, node, work.constants.new(Stored.on(grid, integers), source.name))
    activation = implied_activation(work.names, source, grid, work.opset)
    real = source if activation is None else activation.outputs[0]
    return [*([] if activation is None else [activation]), *work.settle(graph, node, real, grid)]


def _dequantize(work: Lifting, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
    source, made = node.inputs[0], node.outputs[0]
    entry = work.integers.get(id(source))
    values = resolve(source, work.opset) if entry is None else None
    axes = values.ndim if values is not None else rank(source)
    if entry is not None and isinstance(entry.real, Stored):
        axes = entry.real.integers.ndim
    grid = read_grid(node, axes, _dtype(entry, source), work.opset)
    if grid is not None and entry is not None and entry.grid is not None:
        grid = narrowed_alike(grid, entry.grid)
    if values is not None and grid is not None:
        return work.settle(graph, node, work.constants.of(source, Stored.on(grid, values), source.name))
    if entry is None:
        return _computed(work, graph, node, grid)
    if isinstance(entry.real, Stored):
        if grid is None or entry.grid is None or not grid.same(entry.grid):
            raise Declined("its constant is written on one grid and read on another")
        return work.settle(graph, node, work.constants.of(source, entry.real, entry.name))
    if grid is None and entry.grid is None and node.inputs[1] is entry.scale:
        return work.settle(graph, node, entry.real)
    if grid is None or entry.grid is None:
        raise Declined("its scale is computed at run time, and not the one its integers were made with")
    if grid.same(entry.grid):
        return work.settle(graph, node, entry.real, grid)
    return _shifted(work, node, made, entry.real, entry.grid, grid)


def _computed(work: Lifting, graph: gs.Graph, node: gs.Node, grid: Grid | None) -> Sequence[gs.Node]:
    """Integers that no quantizer made, such as an input of the model: their reals, by float operators."""
    source, result, tensors = node.inputs[0], node.outputs[0], list(node.inputs[1:3])
    if len(tensors) > 1 and tensors[1].is_empty():
        tensors.pop()
    if grid is not None:
        tensors = aligned(work.names, grid, source)
        edges = tuple(readers(result))
        work.records.append(Record(result, grid, edges, graph is work.graph and is_output(graph, result)))
    elif (rank(node.inputs[1]) or 0) > 0:
        raise Declined("its scales are computed at run time, one per channel")
    work.note("changed", node.name, "integers that the model is given are turned into reals in float", node.op)
    detach(node)
    return dequantize_in_float(work.names, node.name, source, tensors, result)


def _shifted(
    work: Lifting, node: gs.Node, result: gs.Tensor, real: gs.Tensor, wrote: Grid, read: Grid
) -> Sequence[gs.Node]:
    """``(x / s1 + z1 - z2) * s2``: integers written on one grid and read on another."""
    if wrote.axis is not None or read.axis is not None:
        raise Declined("its integers are written on one grid and read on another, per channel")
    factor = float(read.scale) / float(wrote.scale)
    shift = float(wrote.zero_point - read.zero_point) * float(read.scale)
    work.note("changed", node.name, "integers written on one grid and read on another: a Mul and an Add", node.op)
    work.records.append(Record(result, read, tuple(readers(result))))
    detach(node)
    return shift_in_float(work.names, node.name, real, factor, shift, result)


def emit_integers(work: Lifting) -> None:
    """Integers that something else reads are computed, in float. Raises ModelError where they cannot be."""
    for entry in work.integers.values():
        tensor = entry.tensor
        if not (readers(tensor) or is_output(entry.home, tensor)) or entry.grid is None:
            continue
        real = entry.real
        if isinstance(real, Stored):
            real = work.constants.of(tensor, real, entry.name)
        try:
            nodes = quantize_in_float(work.names, tensor.name, real, entry.grid, tensor)
        except Declined as reason:
            raise ModelError(f"tensor {tensor.name!r} cannot be turned into float: {reason}.") from reason
        entry.home.nodes.extend(nodes)
        work.note("changed", tensor.name, "integers that the model gives are computed in float")


def _bodies(node: gs.Node) -> Iterator[gs.Graph]:
    for attribute in node.attrs.values():
        if isinstance(attribute, gs.Graph):
            yield attribute


def _dtype(entry: Integers | None, source: gs.Tensor) -> str:
    """The type of the integers a DequantizeLinear reads."""
    if entry is not None and entry.grid is not None:
        return entry.grid.dtype
    return "uint8" if source.dtype is None else str(np.dtype(source.dtype))
