"""``x`` becomes ``DequantizeLinear(QuantizeLinear(x))`` where the plan says so, and weights become integers
behind a DequantizeLinear. Readers that want floats keep reading ``x``.

A grid of fewer than 8 bits is stored in 8, at which QuantizeLinear saturates, so a Clip of the integers follows. Around
it onnxruntime, OpenVINO and TensorRT-RTX keep their INT8 kernels; a Clip of floats before costs onnxruntime's.

A logarithmic grid, which these operators do not have, is simulated: Q/DQ of the logarithm, and weights that are
rounded but stored as floats. 16-bit Q/DQ are onnxruntime's own (com.microsoft) below opset 21, the first to have them.

Weights of up to 4 bits are packed where the engine computes with them as it would without: see ``weight_forms.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.errors import Declined, ModelError
from onnxq.graph import Names, every_node, is_output, readers, subgraph_nodes, tidy
from onnxq.ledger import Kind
from onnxq.logarithmic_nodes import simulation
from onnxq.model import to_graph
from onnxq.normalise import raise_opset
from onnxq.packing import OPSETS, PACKED, packed_constant, type_name
from onnxq.plan import Activation, Weight
from onnxq.scheme import QParams, Steps, dequantize
from onnxq.weight_forms import Form, Pack, Written, in_8_bits, packed_form, shift, written_form
from onnxq.workspace import RoundedWeight, Workspace

WIDE_OPSET = 21
FLOAT8_OPSET = 19  # the first that knows 8-bit floats
BLOCK_OPSET = 21  # the first whose DequantizeLinear knows blocks


@dataclass(frozen=True)
class InsertQdq:
    """Write the plan into the graph. ``packed``: weights of up to 4 bits take no more in the file where the engine
    runs their layers all the same (``auto``), ``always``, or ``never``."""

    packed: Pack = "auto"
    name: ClassVar[str] = "insert_qdq"

    def __call__(self, workspace: Workspace) -> bool:
        if any(node.op == "DequantizeLinear" for node in workspace.graph.nodes):
            return False
        written = self._written(workspace)
        graph = workspace.graph
        tensors, names = graph.tensors(), Names(graph)
        for entry in workspace.plan.activations.values():
            quantize_activation(graph, names, tensors[entry.tensor], entry, workspace.activations[entry.tensor])
        nodes = {node.name: node for node in every_node(graph)}
        for weight, rounded in workspace.weights.items():
            result = dequantized_weight(graph, names, weight.tensor, rounded, written.get(weight, Written(Form.EIGHT)))
            for name, index in weight.readers:
                nodes[name].inputs[index] = result
        tidy(graph)
        return bool(workspace.plan.activations or workspace.weights)

    def _written(self, workspace: Workspace) -> Mapping[Weight, Written]:
        """The form of every weight that is to be packed, with the graph raised to an opset that has its type."""
        nodes = {node.name: node for node in every_node(workspace.graph)}
        found = {weight: self._form(weight, rounded, nodes, workspace) for weight, rounded in workspace.weights.items()}
        for reason in dict.fromkeys(form.reason for form in found.values() if form.reason):
            self._tell(
                workspace, "declined", [w for w, f in found.items() if f.reason == reason], f"in 8 bits: {reason}"
            )
        packed = {weight: form for weight, form in found.items() if form.packed is not None}
        kinds = sorted({form.packed for form in packed.values() if form.packed is not None})
        try:
            _raise_opset(workspace, max((OPSETS[PACKED[kind]] for kind in kinds), default=0))
        except Declined as reason:
            self._tell(workspace, "declined", list(packed), f"in 8 bits: {reason}")
            return {}
        for kind in kinds:
            same = [weight for weight, form in packed.items() if form.packed == kind]
            self._tell(workspace, "changed", same, f"as {type_name(kind)}, packed")
        return packed

    def _form(
        self, weight: Weight, rounded: RoundedWeight, nodes: Mapping[str, gs.Node], workspace: Workspace
    ) -> Written:
        scheme, plan = rounded.params.scheme, workspace.plan
        if self.packed == "never" or not scheme.even:
            return Written(Form.EIGHT)
        integer = any(name in plan.integer for name, _ in weight.readers)
        if self.packed == "always":
            return packed_form(scheme, integer, workspace.backend)
        found = [nodes[name] for name, _ in weight.readers]
        return written_form(scheme, rounded.integers.size, found, integer, workspace.backend)

    def _tell(self, workspace: Workspace, kind: Kind, weights: Sequence[Weight], how: str) -> None:
        count = "1 weight is stored" if len(weights) == 1 else f"{len(weights)} weights are stored"
        workspace.ledger.add(kind, self.name, weights[0].tensor, f"{count} {how}")


def _raise_opset(workspace: Workspace, packed: int) -> None:
    """Raise the graph to the opset that ``packed`` types need, and the other weights.

    Raises Declined where ONNX has no way there and packing alone wants it, and ModelError where there is no graph
    without.
    """
    schemes = [rounded.params.scheme for rounded in workspace.weights.values()]
    blocks = BLOCK_OPSET if any(scheme.block for scheme in schemes) else 0
    floats = FLOAT8_OPSET if any(scheme.steps is Steps.FLOAT8 for scheme in schemes) else 0
    before, wanted = workspace.graph.opset, max(packed, blocks, floats)
    if before >= wanted:
        return
    try:
        workspace.graph = _raised(workspace, wanted)
    except Declined as reason:
        if before >= max(blocks, floats):
            raise
        what = "8-bit floats (--numbers)" if floats else "weights in blocks (--block-size)"
        raise ModelError(f"{what}: {reason}. Leave them out; weights alone have none with --weight-bits 8.") from reason
    workspace.ledger.add("changed", InsertQdq.name, "graph", f"opset {before} raised to {wanted}")


def _raised(workspace: Workspace, opset: int) -> gs.Graph:
    if any(True for node in workspace.graph.nodes for _ in subgraph_nodes(node)):
        raise Declined(f"that needs opset {opset}, to which ONNX does not raise bodies of If, Loop and Scan")
    try:
        raised = to_graph(raise_opset(workspace.model(), opset, "blocks and types of few bits", "--pack never"))
    except ModelError as error:
        raise Declined(str(error).removesuffix(".")) from error
    planned = {*workspace.plan.activations, *(weight.tensor for weight in workspace.plan.weights)}
    if not planned <= raised.tensors().keys() or not workspace.plan.nodes <= {node.name for node in raised.nodes}:
        raise Declined(f"that needs opset {opset}, and ONNX's converter renames what is planned")
    return raised


def quantize_activation(graph: gs.Graph, names: Names, tensor: gs.Tensor, entry: Activation, params: QParams) -> None:
    """Put Q and DQ behind ``tensor`` for the readers of ``entry``. An output of the graph keeps its name."""
    edges = [
        (node, index) for node, index in readers(tensor) if entry.readers is None or (node.name, index) in entry.readers
    ]
    source, result = tensor, gs.Variable(names.fresh(f"{tensor.name}/dequantized"), np.float32, tensor.shape)
    if entry.readers is None and is_output(graph, tensor):
        source, result = gs.Variable(names.fresh(f"{tensor.name}/float"), np.float32, tensor.shape), tensor
        maker = tensor.inputs[0]
        maker.outputs[maker.outputs.index(tensor)] = source
    for node, index in edges:
        node.inputs[index] = result
    if params.scheme.steps is Steps.LOGARITHMIC:
        graph.nodes += simulation(names, tensor.name, source, result, float(params.scale))
        return
    grid, domain = _constants(names, tensor.name, params), _domain(graph, params)
    integers = gs.Variable(names.fresh(f"{tensor.name}/quantized"), params.scheme.dtype, tensor.shape)
    kept = _clipped(graph, names, tensor.name, integers, params)
    for op, given, made in (("QuantizeLinear", source, integers), ("DequantizeLinear", kept, result)):
        name = names.fresh(f"{tensor.name}/{op}")
        graph.nodes.append(gs.Node(op, name, inputs=[given, *grid], outputs=[made], domain=domain))


def _clipped(graph: gs.Graph, names: Names, name: str, integers: gs.Variable, params: QParams) -> gs.Variable:
    """The integers within the grid, where their type holds more."""
    scheme = params.scheme
    if scheme.bits == 8 * scheme.dtype.itemsize:
        return integers
    ends = [
        gs.Constant(names.fresh(f"{name}/{end}"), np.array(value, scheme.dtype))
        for end, value in (("lowest", scheme.lowest), ("highest", scheme.highest))
    ]
    kept = gs.Variable(names.fresh(f"{name}/clipped"), scheme.dtype, integers.shape)
    graph.nodes.append(gs.Node("Clip", names.fresh(f"{name}/Clip"), inputs=[integers, *ends], outputs=[kept]))
    return kept


def _domain(graph: gs.Graph, params: QParams) -> str | None:
    """Whose QuantizeLinear takes these integers: onnx's, or onnxruntime's."""
    return "com.microsoft" if params.scheme.dtype.itemsize > 1 and graph.opset < WIDE_OPSET else None


def dequantized_weight(
    graph: gs.Graph, names: Names, tensor: str, rounded: RoundedWeight, written: Written
) -> gs.Tensor:
    """What the readers of a weight are to read: its integers through a DequantizeLinear, outside of all bodies."""
    params = rounded.params
    if params.scheme.steps is Steps.LOGARITHMIC:
        return gs.Constant(names.fresh(f"{tensor}/rounded"), dequantize(rounded.integers, params))
    integers, zero_point = in_8_bits(rounded)
    held: gs.Tensor = gs.Constant(names.fresh(f"{tensor}/quantized"), integers)
    if written.packed is not None:
        held = packed_constant(held.name, rounded.integers, written.packed)
    if written.form is Form.CAST:
        held = _cast(graph, names, tensor, held, params)
    result = gs.Variable(names.fresh(f"{tensor}/dequantized"), np.float32, rounded.integers.shape)
    attrs = {} if params.scheme.axis is None else {"axis": params.scheme.axis}
    attrs |= {"block_size": params.scheme.block} if params.scheme.block else {}
    name = names.fresh(f"{tensor}/DequantizeLinear")
    scale, zero = _constants(names, tensor, replace(params, zero_point=zero_point))
    if written.form is Form.DIRECT and written.packed is not None:
        zero = packed_constant(zero.name, params.zero_point, written.packed)
    graph.nodes.append(gs.Node("DequantizeLinear", name, attrs, [held, scale, zero], [result], _domain(graph, params)))
    return result


def _cast(graph: gs.Graph, names: Names, tensor: str, packed: gs.Tensor, params: QParams) -> gs.Tensor:
    """The packed integers, in 8 bits; those of a shifted grid around zero."""
    dtype = params.scheme.dtype
    wide = gs.Variable(names.fresh(f"{tensor}/unpacked"), dtype, packed.shape)
    to = {"to": onnx.helper.np_dtype_to_tensor_dtype(dtype)}
    graph.nodes.append(gs.Node("Cast", names.fresh(f"{tensor}/Cast"), to, [packed], [wide]))
    if not params.scheme.shifted:
        return wide
    around = gs.Variable(names.fresh(f"{tensor}/around_zero"), dtype, packed.shape)
    shifts = gs.Constant(names.fresh(f"{tensor}/shift"), shift(params, len(packed.shape)))
    graph.nodes.append(gs.Node("Sub", names.fresh(f"{tensor}/Sub"), inputs=[wide, shifts], outputs=[around]))
    return around


def _constants(names: Names, name: str, params: QParams) -> list[gs.Constant]:
    """Scale and an explicit zero point: without one, engines disagree on its type."""
    return [
        gs.Constant(names.fresh(f"{name}/scale"), params.scale),
        gs.Constant(names.fresh(f"{name}/zero_point"), params.zero_point),
    ]
