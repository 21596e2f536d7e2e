"""``DequantizeLinear(W, s)`` becomes ``Mul(Cast(W), s)``, with the same numbers, where no integer kernel reads it.

Engines compute a Cast and a Mul of constants once, when they load a model. A DequantizeLinear onnxruntime computes
at every run: an LSTM whose weights stand behind one takes 1.3 times as long, and the rows of a table behind one with
a scale per column 1.6 times. OpenVINO refuses such an LSTM beside quantized layers.
What is packed is cast to floats without a stop at 8 bits.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import HEAVY_OPS, RECURRENT_OPS, Names, is_constant, producer, readers, tidy
from onnxq.packing import packed_behind
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class UnfoldDequantize:
    """For weights of recurrent layers, for those of all layers in bodies of If, Loop and Scan, of layers that compute
    in float and have no kernel for integer weights, and for what is gathered from a table; runs after
    ``gather_integers``."""

    name: ClassVar[str] = "unfold_dequantize"

    def __call__(self, workspace: Workspace) -> bool:
        names, done = Names(workspace.graph), 0
        outside = {id(node) for node in workspace.graph.nodes}
        for node in [node for node in workspace.graph.nodes if node.op == "DequantizeLinear"]:
            if _is_plain(node) and _is_only_stored(node, outside):
                _unfold(workspace.graph, names, node)
                done += 1
        tidy(workspace.graph)
        return done > 0


def _is_plain(node: gs.Node) -> bool:
    """Whether a Cast and a product with numbers, or with one a channel, make what it makes."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return zero is not None and is_constant(zero) and not np.any(zero.values) and not node.attrs.get("block_size", 0)


def _is_only_stored(node: gs.Node, outside: Set[int]) -> bool:
    maker = producer(packed_behind(node.inputs[0]))
    if maker is not None:
        return maker.op == "Gather" and is_constant(packed_behind(maker.inputs[0]))
    found = [reader for reader, _ in readers(node.outputs[0])]
    return bool(found) and all(
        reader.op in RECURRENT_OPS or id(reader) not in outside or _in_float(reader, node) for reader in found
    )


def _in_float(layer: gs.Node, weight: gs.Node) -> bool:
    """Whether a linear layer has no integer operand but the weight, and engines no kernel for such."""
    if layer.op not in HEAVY_OPS:
        return False
    others = [tensor for tensor in layer.inputs[:2] if tensor is not weight.outputs[0]]
    makers = [maker for tensor in others if (maker := producer(tensor)) is not None]
    product = layer.op in ("Gemm", "MatMul") and layer.inputs[0] in others and len(weight.inputs[0].shape) == 2
    return not product and not any(maker.op == "DequantizeLinear" for maker in makers)


def _unfold(graph: gs.Graph, names: Names, node: gs.Node) -> None:
    stored, scale, result = packed_behind(node.inputs[0]), np.asarray(node.inputs[1].values), node.outputs[0]
    if scale.ndim:
        shape = [1] * len(result.shape)
        shape[int(node.attrs.get("axis", 1))] = -1
        scale = scale.reshape(shape)
    factor = gs.Constant(names.fresh(f"{result.name}/factor"), scale)
    # OpenVINO keeps 8-bit constants in front of a Cast to float, but not to int32.
    steps = (np.int32, np.float32) if is_constant(stored) else (np.float32,)
    node.inputs.clear()
    node.outputs.clear()
    for dtype in steps:
        cast = gs.Variable(names.fresh(f"{result.name}/cast"), dtype, result.shape)
        kind = {"to": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))}
        graph.nodes.append(gs.Node("Cast", names.fresh(f"{result.name}/Cast"), kind, [stored], [cast]))
        stored = cast
    graph.nodes.append(gs.Node("Mul", names.fresh(f"{result.name}/Mul"), {}, [stored, factor], [result]))
