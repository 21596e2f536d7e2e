"""Dynamic quantization, whose activation scales are computed at every run, becomes the float operator it stands for.

``Mul(Cast(MatMulInteger(xq, wq, xz, wz)), Mul(xs, ws))`` with ``xq, xs, xz = DynamicQuantizeLinear(x)`` becomes
``MatMul(x, DequantizeLinear(wq, ws, wz))``, and ConvInteger becomes Conv likewise. onnxruntime's own operators
(domain com.microsoft) hold the same pieces in one node.
"""

import onnx_graphsurgeon as gs

from onnxq.errors import Declined
from onnxq.graph import Names, is_output, producer, readers
from onnxq.lifting.qoperator import Writer

INTEGER_OPS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
FUSED_OPS = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM")


def expand_dynamic(graph: gs.Graph, node: gs.Node, names: Names) -> list[gs.Node]:
    """The nodes that compute in float what a dynamically quantized one does. Raises Declined."""
    write = Writer(node, names)
    if node.op in INTEGER_OPS:
        return _integer_product(graph, write)
    (_lstm if node.op == "DynamicQuantizeLSTM" else _fused_product)(write)
    results = list(node.outputs)
    node.inputs.clear()
    node.outputs.clear()
    write.nodes[-1].outputs = results
    return write.nodes


def _integer_product(graph: gs.Graph, write: Writer) -> list[gs.Node]:
    node = write.node
    cast = _only_reader(graph, node.outputs[0], "Cast")
    scaled = _only_reader(graph, cast.outputs[0], "Mul")
    scale = next(entry for entry in scaled.inputs if entry is not cast.outputs[0])
    source = producer(node.inputs[0])
    if source is None or source.op not in ("DynamicQuantizeLinear", "QuantizeLinear"):
        raise Declined(f"the integers that {node.op} reads come from no quantizer")
    weight_scale = _other_factor(write, scale, source.outputs[1] if len(source.outputs) > 1 else source.inputs[1])
    grid = [weight_scale] + ([zero] if (zero := write.given(3)) is not None else [])
    attrs: dict[str, object] = {"axis": 0 if node.op == "ConvInteger" else -1}
    weight = write.add("DequantizeLinear", [node.inputs[1], *grid], attrs)
    write.main(INTEGER_OPS[node.op], [source.inputs[0], weight])
    result = scaled.outputs[0]
    for old in (node, cast, scaled):
        old.inputs.clear()
        old.outputs.clear()
    write.nodes[-1].outputs = [result]
    return write.nodes


def _only_reader(graph: gs.Graph, tensor: gs.Tensor, op: str) -> gs.Node:
    found = readers(tensor)
    if len(found) != 1 or found[0][0].op != op or is_output(graph, tensor):
        raise Declined(f"what follows {tensor.inputs[0].op} is not the {op} that onnxruntime's quantizer writes")
    return found[0][0]


def _other_factor(write: Writer, scale: gs.Tensor, activation: gs.Tensor) -> gs.Tensor:
    """The weight's scale, of the product ``activation * weight`` that rescales the sums."""
    maker = producer(scale)
    if maker is not None and maker.op == "Mul" and any(entry is activation for entry in maker.inputs):
        return next(entry for entry in maker.inputs if entry is not activation)
    return write.add("Div", [scale, activation])


def _fused_product(write: Writer) -> None:
    """DynamicQuantizeMatMul (A, B, bs, bz, bias) or MatMulIntegerToFloat (A, B, as, bs, az, bz, bias)."""
    node = write.node
    left: gs.Tensor = node.inputs[0]
    scale, zero, bias = 2, 3, 4
    if node.op == "MatMulIntegerToFloat":
        scale, zero, bias = 3, 5, 6
        left = write.add("DequantizeLinear", [node.inputs[0], *_present(write, 2, 4)], {"axis": -2})
    right = write.add("DequantizeLinear", [node.inputs[1], *_present(write, scale, zero)], {"axis": -1})
    real = write.main("MatMul", [left, right])
    added = write.given(bias)
    if added is not None:
        write.add("Add", [real, added])


def _present(write: Writer, *indices: int) -> list[gs.Tensor]:
    return [entry for entry in map(write.given, indices) if entry is not None]


def _lstm(write: Writer) -> None:
    """LSTM; onnxruntime keeps W and R with gates last, ONNX with gates before inputs."""
    node = write.node
    weights = []
    for index, scale in ((1, 8), (2, 10)):
        if len(node.inputs[scale].shape or ()) > 1:
            raise Declined("its DynamicQuantizeLSTM has a scale per gate")
        real = write.add("DequantizeLinear", [node.inputs[index], *_present(write, scale, scale + 1)], {"axis": 0})
        weights.append(write.add("Transpose", [real], {"perm": [0, 2, 1]}))
    write.main("LSTM", [node.inputs[0], *weights, *node.inputs[3:8]])
