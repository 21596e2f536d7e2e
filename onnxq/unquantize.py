"""Take quantization out of a graph, node by node in its order, and remember every grid that was there."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.dynamic import FUSED_OPS, INTEGER_OPS, expand_dynamic
from onnxq.emulate import dequantize_in_float, quantize_in_float, shift_in_float
from onnxq.errors import Declined, ModelError
from onnxq.graph import MOVERS, Names, data_inputs, data_outputs, is_output, readers
from onnxq.implied import implied_activation
from onnxq.ledger import Entry, Kind
from onnxq.qoperator import EXPANSIONS, expand
from onnxq.stored import BOUNDS, Array, Grid, Stored, read_grid, resolve, simulated_grid

DOMAINS = (None, "", "ai.onnx", "com.microsoft")
_SUFFIX = re.compile(r"([_/](de)?quantized|_quant|_(De|Q)uantizeLinear_Output)$")
RUN_TIME = "its scale is computed at run time, so it has no grid to keep"


@dataclass(frozen=True)
class Record:
    """That ``readers``, and the caller where it is an ``output``, saw ``tensor`` on ``grid``."""

    tensor: gs.Tensor
    grid: Grid
    readers: tuple[tuple[gs.Node, int], ...]
    output: bool = False


@dataclass(frozen=True)
class _Integers:
    """A tensor of integers that stands for ``real``, a tensor or a constant kept as integers.

    ``grid`` is None where it is computed at run time, from ``scale``.
    """

    tensor: gs.Tensor
    real: gs.Tensor | Stored
    grid: Grid | None
    scale: gs.Tensor
    home: gs.Graph
    name: str


@dataclass
class Unquantizer:
    """The state of one lift. Tensors are known by identity, since names change."""

    graph: gs.Graph
    names: Names
    opset: int
    records: list[Record] = field(default_factory=list)
    notes: list[Entry] = field(default_factory=list)
    _integers: dict[int, _Integers] = field(default_factory=dict)
    _constants: dict[int, tuple[gs.Constant, Stored, str]] = field(default_factory=dict)
    _dequantized: dict[int, list[tuple[gs.Tensor, Grid, gs.Constant]]] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: gs.Graph, opset: int) -> "Unquantizer":
        return cls(graph, Names(graph), opset)

    def note(self, kind: Kind, subject: str, reason: str, op: str = "") -> None:
        self.notes.append(Entry(kind, "lift", subject, reason, op))

    def lift(self, graph: gs.Graph) -> None:
        """Replace the quantized nodes of a graph, and of the bodies in it."""
        done: list[gs.Node] = []
        todo = list(reversed(graph.nodes))
        while todo:
            node = todo.pop()
            if not node.outputs:  # taken in by another
                continue
            try:
                replacement = self._node(graph, node)
            except Declined as reason:
                raise ModelError(
                    f"node {node.name!r} ({node.op}) cannot be turned into float: {reason}. "
                    "Take the model before it was quantized, or quantize it in Q/DQ format."
                ) from reason
            if replacement is None:
                done.append(node)
                for body in _bodies(node):
                    self.lift(body)
            else:
                todo += reversed(replacement)
        graph.nodes[:] = done

    def _node(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
        """What the node becomes; None if it stays."""
        if node.domain not in DOMAINS:
            return self._simulated(graph, node) if node.op == "Quant" else None
        if node.op in EXPANSIONS:
            return expand(node, self.names)
        if node.op in INTEGER_OPS or node.op in FUSED_OPS:
            self.note("changed", node.name, "dynamic quantization: its activation had no grid to keep", node.op)
            return expand_dynamic(graph, node, self.names)
        if node.op == "QuantizeLinear":
            return self._quantize(graph, node)
        if node.op == "DynamicQuantizeLinear":
            made = node.outputs[0]
            self._integers[id(made)] = _Integers(made, node.inputs[0], None, node.outputs[1], graph, made.name)
            return None
        if node.op == "DequantizeLinear":
            return self._dequantize(graph, node)
        return self._move(graph, node) if node.op in MOVERS else None

    def _quantize(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
        """Remember what its integers stand for; the node itself goes."""
        source, made, scale = node.inputs[0], node.outputs[0], node.inputs[1]
        values = resolve(source, self.opset)
        rank = values.ndim if values is not None else _rank(source)
        grid = read_grid(node, rank, None, self.opset)
        real: gs.Tensor | Stored = source
        if grid is None:
            self.note("warning", node.name, RUN_TIME, node.op)
        elif values is not None and grid.integer:
            real = Stored.on(grid, grid.quantize(values))
        _detach(node)
        activation = implied_activation(self.names, source, grid, self.opset) if grid and values is None else None
        if activation is not None:
            real = activation.outputs[0]
            reason = f"its grid starts at zero and so did the work of a {activation.op}, which is written out"
            self.note("changed", source.name, reason, activation.op)
        self._integers[id(made)] = _Integers(made, real, grid, scale, graph, source.name)
        return [] if activation is None else [activation]

    def _simulated(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
        """QONNX's Quant, which Brevitas exports: from reals to reals, in any number of bits."""
        source = node.inputs[0]
        values = resolve(source, self.opset)
        grid = simulated_grid(node, self.opset)
        if grid is None:
            self.note("warning", node.name, RUN_TIME, node.op)
            return self._settle(graph, node, source)
        if values is not None:
            integers = grid.quantize(values)
            if node.attrs.get("narrow", 0):
                integers = np.maximum(integers, BOUNDS[grid.dtype][0] + 1)
            return self._settle(graph, node, self._new_constant(Stored.on(grid, integers), source.name))
        activation = implied_activation(self.names, source, grid, self.opset)
        real = source if activation is None else activation.outputs[0]
        return [*([] if activation is None else [activation]), *self._settle(graph, node, real, grid)]

    def _dequantize(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node]:
        source, made = node.inputs[0], node.outputs[0]
        entry = self._integers.get(id(source))
        values = resolve(source, self.opset) if entry is None else None
        rank = values.ndim if values is not None else _rank(source)
        if entry is not None and isinstance(entry.real, Stored):
            rank = entry.real.integers.ndim
        grid = read_grid(node, rank, _dtype(entry, source), self.opset)
        if values is not None and grid is not None:
            return self._settle(graph, node, self._constant(source, Stored.on(grid, values), source.name))
        if entry is None:
            return self._computed(graph, node, grid)
        if isinstance(entry.real, Stored):
            if grid is None or entry.grid is None or not grid.same(entry.grid):
                raise Declined("its constant is written on one grid and read on another")
            return self._settle(graph, node, self._constant(source, entry.real, entry.name))
        if grid is None and entry.grid is None and node.inputs[1] is entry.scale:
            return self._settle(graph, node, entry.real)
        if grid is None or entry.grid is None:
            raise Declined("its scale is computed at run time, and not the one its integers were made with")
        if grid.same(entry.grid):
            return self._settle(graph, node, entry.real, grid)
        return self._shifted(node, made, entry.real, entry.grid, grid)

    def _settle(self, graph: gs.Graph, node: gs.Node, real: gs.Tensor, grid: Grid | None = None) -> Sequence[gs.Node]:
        """Let whatever reads the node's result read ``real``; a graph output keeps its name."""
        result = node.outputs[0]
        edges = readers(result)
        output = is_output(graph, result)
        _detach(node)
        for reader, index in edges:
            reader.inputs[index] = real
        if grid is not None:
            self.records.append(Record(real, grid, tuple(edges), output and graph is self.graph))
        if not output:
            return []
        if graph is not self.graph or not real.inputs or is_output(graph, real):
            name = self.names.fresh(f"{result.name}/Identity")
            return [gs.Node("Identity", name, {}, [real], [result])]
        graph.outputs = [real if entry is result else entry for entry in graph.outputs]
        real.name, result.name = result.name, self.names.fresh(f"{result.name}/old")
        real.dtype = result.dtype if real.dtype is None else real.dtype
        return []

    def _constant(self, source: gs.Tensor, stored: Stored, name: str) -> gs.Constant:
        """The floats of a constant kept as integers: one for all that read it on the same grid."""
        assert stored.grid is not None
        known = self._dequantized.setdefault(id(source), [])
        for _, grid, constant in known:
            if grid.same(stored.grid):
                return constant
        constant = self._new_constant(stored, name)
        known.append((source, stored.grid, constant))
        return constant

    def _new_constant(self, stored: Stored, name: str) -> gs.Constant:
        base = _SUFFIX.sub("", name)
        constant = gs.Constant(self.names.fresh(f"{base}/float"), np.ascontiguousarray(stored.values()))
        self._constants[id(constant)] = (constant, stored, base)
        return constant

    def _computed(self, graph: gs.Graph, node: gs.Node, grid: Grid | None) -> Sequence[gs.Node]:
        """Integers that no quantizer made, such as an input of the model: their reals, by float operators."""
        source, result, tensors = node.inputs[0], node.outputs[0], list(node.inputs[1:3])
        if len(tensors) > 1 and tensors[1].is_empty():
            tensors.pop()
        if grid is not None:
            tensors = [self._aligned(array, grid, source) for array in (grid.scale, grid.zero_point)]
            edges = tuple(readers(result))
            self.records.append(Record(result, grid, edges, graph is self.graph and is_output(graph, result)))
        elif (_rank(node.inputs[1]) or 0) > 0:
            raise Declined("its scales are computed at run time, one per channel")
        self.note("changed", node.name, "integers that the model is given are turned into reals in float", node.op)
        _detach(node)
        return dequantize_in_float(self.names, node.name, source, tensors, result)

    def _aligned(self, array: Array, grid: Grid, tensor: gs.Tensor) -> gs.Constant:
        rank = _rank(tensor)
        if grid.axis is not None and (rank is None or grid.block):
            raise Declined(f"its grid ({grid.describe()}) cannot be lined up with integers computed at run time")
        shape = [1] * (rank or 0) if grid.axis is not None else []
        if grid.axis is not None:
            shape[grid.axis] = -1
        name = self.names.fresh(f"{tensor.name}/grid")
        return gs.Constant(name, array.astype(np.float32).reshape(shape))

    def _shifted(self, node: gs.Node, result: gs.Tensor, real: gs.Tensor, wrote: Grid, read: Grid) -> Sequence[gs.Node]:
        """``(x / s1 + z1 - z2) * s2``: integers written on one grid and read on another."""
        if wrote.axis is not None or read.axis is not None:
            raise Declined("its integers are written on one grid and read on another, per channel")
        factor = float(read.scale) / float(wrote.scale)
        shift = float(wrote.zero_point - read.zero_point) * float(read.scale)
        self.note("changed", node.name, "integers written on one grid and read on another: a Mul and an Add", node.op)
        self.records.append(Record(result, read, tuple(readers(result))))
        _detach(node)
        return shift_in_float(self.names, node.name, real, factor, shift, result)

    def _move(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
        """A node that moves integers moves the reals; one that moves a constant is computed now."""
        indices = data_inputs(node)
        entries = [self._integers.get(id(node.inputs[i])) for i in indices]
        if entries and entries[0] is None and len(indices) == 1:
            return self._move_constant(graph, node)
        grids = [entry.grid for entry in entries if entry is not None]
        first = grids[0] if grids else None
        if first is None or len(grids) != len(entries) or any(g is None or not g.same(first) for g in grids):
            return None
        found = [entry for entry in entries if entry is not None]
        if first.axis is not None and node.op != "Identity" and not isinstance(found[0].real, Stored):
            return None
        return self._move_integers(graph, node, indices, found, first)

    def _move_integers(
        self, graph: gs.Graph, node: gs.Node, indices: list[int], entries: list[_Integers], grid: Grid
    ) -> Sequence[gs.Node] | None:
        held = entries[0].real
        if isinstance(held, Stored) and len(entries) == 1:
            moved = self._moved(node, held)
            if moved is not None and moved.grid is not None:
                made = node.outputs[0]
                name = entries[0].name
                self._integers[id(made)] = _Integers(made, moved, moved.grid, entries[0].scale, graph, name)
                _detach(node)
                return []
        for index, entry in zip(indices, entries, strict=True):
            real = entry.real
            if isinstance(real, Stored):
                real = self._constant(node.inputs[index], real, entry.name)
            node.inputs[index] = real
            self.records.append(Record(real, grid, ((node, index),)))
        self._write_reals(graph, node, grid, entries[0].scale)
        return None

    def _write_reals(self, graph: gs.Graph, node: gs.Node, grid: Grid, scale: gs.Tensor) -> None:
        """From now on the node makes floats; its integers are known to stand for them."""
        if node.op == "Pad":
            self._pad_in_reals(node, grid)
        for index in data_outputs(node):
            old = node.outputs[index]
            name = _SUFFIX.sub("", old.name)
            real = gs.Variable(self.names.fresh(name if name != old.name else f"{name}/float"), np.float32, old.shape)
            node.outputs[index] = real
            self._integers[id(old)] = _Integers(old, real, grid, scale, graph, old.name)

    def _pad_in_reals(self, node: gs.Node, grid: Grid) -> None:
        given = len(node.inputs) > 2 and not node.inputs[2].is_empty()
        value = resolve(node.inputs[2], self.opset) if given else np.zeros(())
        if value is None:
            raise Declined("the integer it pads with is computed at run time")
        while len(node.inputs) < 3:
            node.inputs.append(gs.Variable.empty())
        real = (float(value.reshape(())) - float(grid.zero_point)) * float(grid.scale)
        node.inputs[2] = gs.Constant(self.names.fresh(f"{node.name}/value"), np.asarray(real, np.float32))

    def _move_constant(self, graph: gs.Graph, node: gs.Node) -> Sequence[gs.Node] | None:
        source = node.inputs[0]
        known = self._constants.get(id(source))
        if known is not None:
            moved = self._moved(node, known[1])
            if moved is None:
                return None
            return self._settle(graph, node, self._new_constant(moved, known[2]))
        # Rows of an integer table are picked, and dequantized after that.
        if not isinstance(source, gs.Constant) or str(source.dtype) not in ("int8", "uint8"):
            return None
        reader = _dequantizer(node.outputs[0])
        grid = read_grid(reader, None, str(source.dtype), self.opset) if reader is not None else None
        if grid is None or grid.axis is not None or reader is None:
            return None
        stored = Stored.on(grid, np.asarray(source.values))
        node.inputs[0] = self._constant(source, stored, source.name)
        self._write_reals(graph, node, grid, reader.inputs[1])
        return None

    def _moved(self, node: gs.Node, stored: Stored) -> Stored | None:
        if len(node.outputs) != 1 or node.op in ("MaxPool", "ReduceMax", "ReduceMin", "Pad", "Resize"):
            return None
        others = [np.empty(0) if entry.is_empty() else resolve(entry, self.opset) for entry in node.inputs[1:]]
        arrays = [array for array in others if array is not None]
        return stored.moved(node, 0, arrays, self.opset) if len(arrays) == len(others) else None

    def finish(self) -> None:
        """Integers that something else reads are computed, in float. Raises ModelError where they cannot be."""
        for entry in self._integers.values():
            tensor = entry.tensor
            if not (readers(tensor) or is_output(entry.home, tensor)) or entry.grid is None:
                continue
            real = entry.real
            if isinstance(real, Stored):
                real = self._constant(tensor, real, entry.name)
            try:
                nodes = quantize_in_float(self.names, tensor.name, real, entry.grid, tensor)
            except Declined as reason:
                raise ModelError(f"tensor {tensor.name!r} cannot be turned into float: {reason}.") from reason
            entry.home.nodes.extend(nodes)
            self.note("changed", tensor.name, "integers that the model gives are computed in float")

    def constants(self) -> Iterator[tuple[gs.Constant, Stored]]:
        """Every float constant of the graph that was kept as integers."""
        for constant, stored, _ in self._constants.values():
            if constant.outputs:
                yield constant, stored

    def name_constants(self) -> None:
        """Give each the name its floats had, or its integers without what was appended to it, if that is free."""
        taken = set(self.graph.tensors()) | {node.name for node in self.graph.nodes}
        for constant, _, base in self._constants.values():
            if constant.outputs and base not in taken:
                constant.name = base
                taken.add(base)


def _bodies(node: gs.Node) -> Iterator[gs.Graph]:
    for attribute in node.attrs.values():
        if isinstance(attribute, gs.Graph):
            yield attribute


def _detach(node: gs.Node) -> None:
    node.inputs.clear()
    node.outputs.clear()


def _rank(tensor: gs.Tensor) -> int | None:
    return None if tensor.shape is None else len(tensor.shape)


def _dtype(entry: _Integers | None, source: gs.Tensor) -> str:
    """The type of the integers a DequantizeLinear reads."""
    if entry is not None and entry.grid is not None:
        return entry.grid.dtype
    return "uint8" if source.dtype is None else str(np.dtype(source.dtype))


def _dequantizer(tensor: gs.Tensor) -> gs.Node | None:
    """The first DequantizeLinear behind a tensor, through nodes that move."""
    for node, _ in readers(tensor):
        if node.op == "DequantizeLinear":
            return node
        if node.op in MOVERS and (found := _dequantizer(node.outputs[0])) is not None:
            return found
    return None
