"""What stays float computes in FP16 or BF16: ``y = f(x)`` becomes ``y = f(Cast(x))`` in 16-bit floats, with one Cast at
each input and output of the model, whose interface stays float32.

For engines whose networks are strongly typed: there, the types in the file are the precisions that run. Q and DQ take
the type of the data beside them, and so do their scales. A scale is rounded to that type, and the integers of a weight
are rounded again on the new grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Names, is_constant, producer, readers, tidy
from onnxq.model import to_graph
from onnxq.narrow import FLOAT_TYPES, QDQ, FloatType, is_float32, refusals, slots, touched
from onnxq.normalise import raise_opset
from onnxq.packing import PACKED, packed_constant, unpack_constants
from onnxq.passes.calibrate import collect
from onnxq.scheme import FLOAT8
from onnxq.workspace import Workspace

SMALLEST_SCALE = 2.0**-18  # in FP16; smaller ones would have fewer than 7 bits


@dataclass(frozen=True)
class CastFloat:
    """``to``: the type of what stays float. Runs after ``insert_qdq``."""

    to: Literal["fp32", "fp16", "bf16"] = "fp16"
    name: ClassVar[str] = "cast_float"

    def __call__(self, workspace: Workspace) -> bool:
        if self.to == "fp32" or any(node.op in QDQ and _is_narrow(node) for node in workspace.graph.nodes):
            return False
        if self.to not in workspace.backend.floats:
            workspace.ledger.add(
                "declined", self.name, "graph", f"no {self.to.upper()}: {workspace.backend.fp32_reason}"
            )
            return False
        to = FLOAT_TYPES[self.to]
        workspace.graph = to_graph(raise_opset(workspace.model(), to.opset, "16-bit floats", "--float fp32"))
        unpack_constants(workspace.graph)
        workspace.statistics = dict(workspace.statistics)  # of the quantized graph from here on, and of it alone
        collect(workspace, touched(workspace.graph), histogram=False)
        if self.to == "bf16":
            workspace.stand_in = workspace.model()
            reason = (
                "onnxruntime has no BF16 kernels on the CPU: the graph was judged as it was before the cast to BF16"
            )
            workspace.ledger.add("warning", self.name, "graph", reason)
        kept = refusals(workspace.graph, to, workspace.statistics, workspace.backend.floats[self.to])
        ops = {node.name: node.op for node in workspace.graph.nodes}
        for name, reason in kept.items():
            workspace.ledger.add("float", self.name, name, reason, ops[name])
        cast = _Cast(workspace.graph, to, frozenset(kept))
        count = cast()
        for name in cast.widened:
            reason = f"its scale was widened to {SMALLEST_SCALE:.2g}, the smallest that {to.name} holds well"
            workspace.ledger.add("clipped", self.name, name, reason)
        workspace.ledger.add("changed", self.name, "graph", f"{count} nodes compute in {to.name}, or read or write it")
        return True


def _is_narrow(node: gs.Node) -> bool:
    tensor = node.inputs[0] if node.op == "QuantizeLinear" else node.outputs[0]
    return tensor.dtype is not None and not is_float32(tensor)


@dataclass
class _Cast:
    """The rewrite of one graph. ``kept`` are the nodes that stay FP32."""

    graph: gs.Graph
    to: FloatType
    kept: frozenset[str]
    widened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = Names(self.graph)
        self.dtype = self.to.dtype if self.to.name == "BF16" else self.to.numpy  # numpy has no BF16
        self.copies: dict[tuple[int, bool], gs.Tensor] = {}
        self.nodes = list(self.graph.nodes)
        self.slots = {
            node.name: slots(node, self.graph.opset, self.to)
            for node in self.nodes
            if node.op not in QDQ and node.name not in self.kept
        }

    def __call__(self) -> int:
        """How many nodes take part."""
        narrow = self._narrow_tensors()
        grids: dict[int, list[tuple[gs.Node, bool]]] = {}
        for node in self.nodes:
            if node.op in QDQ:
                data = node.inputs[0] if node.op == "QuantizeLinear" else node.outputs[0]
                grids.setdefault(id(node.inputs[1]), []).append((node, id(data) in narrow))
            else:
                self._retype_inputs(node, narrow)
        for members in grids.values():
            if any(is_narrow for _, is_narrow in members):
                self._retype_grid(members)
        for tensor in narrow.values():
            tensor.dtype = self.dtype
        for index, output in enumerate(self.graph.outputs):
            if id(output) in narrow:
                self._widen_output(index, output)
        tidy(self.graph)
        return sum(bool(entry.inputs) for entry in self.slots.values())

    def _narrow_tensors(self) -> dict[int, gs.Tensor]:
        """The tensors that become 16-bit: what 16-bit nodes make, and what is dequantized for one of them."""
        found = {}
        for node in self.nodes:
            if node.op == "DequantizeLinear":
                result = node.outputs[0]
                wanted = any(index in self._inputs(reader) for reader, index in readers(result))
                found.update({id(result): result} if wanted else {})
            elif node.name in self.slots:
                found.update({id(node.outputs[i]): node.outputs[i] for i in self.slots[node.name].outputs})
        return found

    def _inputs(self, node: gs.Node) -> frozenset[int]:
        return self.slots[node.name].inputs if node.name in self.slots else frozenset()

    def _retype_inputs(self, node: gs.Node, narrow: Mapping[int, gs.Tensor]) -> None:
        for index, tensor in enumerate(node.inputs):
            wanted = index in self._inputs(node)
            if is_float32(tensor) and wanted != (id(tensor) in narrow):
                node.inputs[index] = self._copy(tensor, wanted)

    def _copy(self, tensor: gs.Tensor, narrow: bool) -> gs.Tensor:
        """The tensor in the other type: a constant of it, or a Cast, shared by all that want one."""
        key = (id(tensor), narrow)
        if key not in self.copies:
            name = self.names.fresh(f"{tensor.name}/{self.to.name.lower() if narrow else 'fp32'}")
            if is_constant(tensor):
                self.copies[key] = gs.Constant(name, np.asarray(tensor.values).astype(self.to.numpy))
            else:
                self.copies[key] = gs.Variable(name, self.dtype if narrow else np.float32, tensor.shape)
                self._add_cast(tensor, self.copies[key], narrow)
        return self.copies[key]

    def _add_cast(self, source: gs.Tensor, result: gs.Tensor, narrow: bool) -> None:
        attrs = {"to": self.to.dtype if narrow else onnx.TensorProto.FLOAT}
        name = self.names.fresh(f"{result.name}/Cast")
        self.graph.nodes.append(gs.Node("Cast", name, attrs, [source], [result]))

    def _widen_output(self, index: int, output: gs.Tensor) -> None:
        """An output of the model stays float32, by its name."""
        source = gs.Variable(self.names.fresh(f"{output.name}/{self.to.name.lower()}"), self.dtype, output.shape)
        maker = producer(output)
        assert maker is not None
        maker.outputs[[entry is output for entry in maker.outputs].index(True)] = source
        for reader, slot in readers(output):
            reader.inputs[slot] = source
        output.dtype = np.dtype(np.float32)
        self._add_cast(source, output, narrow=False)

    def _retype_grid(self, members: list[tuple[gs.Node, bool]]) -> None:
        """One scale for the Q and the DQ of a tensor, in the type that each of them wants."""
        old = members[0][0].inputs[1]
        quantizes = any(node.op == "QuantizeLinear" for node, _ in members)
        scale = np.asarray(old.values, np.float32)
        rounded = self._rounded(scale, quantizes)
        if np.any(rounded > 1.1 * scale):
            self.widened.append(old.name)
        name = self.names.fresh(f"{old.name}/{self.to.name.lower()}")
        narrow = gs.Constant(name, np.asarray(rounded, self.to.numpy))
        wide = gs.Constant(self.names.fresh(f"{name}/fp32"), rounded)
        for node, is_narrow in members:
            node.inputs[1] = narrow if is_narrow else wide
            if is_constant(node.inputs[0]):
                node.inputs[0] = self._regrid(node, scale / rounded)

    def _rounded(self, scale: NDArray[np.float32], quantizes: bool) -> NDArray[np.float32]:
        """The nearest scales that the type holds well. A quantizer multiplies by the inverse, which must fit too."""
        least = 0.0 if self.to.name == "BF16" else max(SMALLEST_SCALE, quantizes * 1.01 / self.to.largest)
        return np.asarray(np.maximum(scale, least).astype(self.to.numpy), np.float32)

    def _regrid(self, node: gs.Node, ratio: NDArray[np.float32]) -> gs.Constant:
        """The integers of a weight for its new scale."""
        stored, axis = node.inputs[0], int(node.attrs.get("axis", 1))
        integers = np.asarray(stored.values)
        if block := int(node.attrs.get("block_size", 0)):
            ratio = ratio.take(np.arange(integers.shape[axis]) // block, axis)
        elif ratio.ndim:
            ratio = ratio.reshape([-1 if a == axis else 1 for a in range(integers.ndim)])
        if integers.dtype == FLOAT8:
            again = (integers.astype(np.float32) * ratio).astype(FLOAT8)
        else:
            again = np.rint(integers * ratio).astype(integers.dtype)
        name = self.names.fresh(f"{stored.name}/{self.to.name.lower()}")
        return (
            packed_constant(name, again, stored.export_dtype)
            if stored.export_dtype in PACKED
            else gs.Constant(name, again)
        )
