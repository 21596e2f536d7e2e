"""``Gemm<transB=1>(x, DQ(W))`` becomes ``Gemm(x, DQ(W^T))`` with the same numbers, where the layer computes in float.

onnxruntime reads packed weights of a MatMul, and of a Gemm without transB; else it unpacks them at every run.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Names, is_constant, producer, readers, tidy
from onnxq.packing import PACKED, packed_constant
from onnxq.workspace import Workspace


@dataclass(frozen=True)
class TurnGemm:
    """For weights that nothing else reads; runs after ``insert_qdq``."""

    name: ClassVar[str] = "turn_gemm"

    def __call__(self, workspace: Workspace) -> bool:
        names, turned = Names(workspace.graph), 0
        for gemm in [node for node in workspace.graph.nodes if node.op == "Gemm" and node.attrs.get("transB", 0)]:
            weight, given = producer(gemm.inputs[1]), producer(gemm.inputs[0])
            in_float = given is None or given.op != "DequantizeLinear"
            if weight is not None and in_float and _is_turnable(weight):
                _turn(names, gemm, weight)
                turned += 1
        tidy(workspace.graph)
        return turned > 0


def _is_turnable(weight: gs.Node) -> bool:
    constants = weight.op == "DequantizeLinear" and all(map(is_constant, weight.inputs))
    return constants and len(weight.inputs[0].shape) == 2 and len(readers(weight.outputs[0])) == 1


def _turn(names: Names, gemm: gs.Node, weight: gs.Node) -> None:
    for index, tensor in enumerate(weight.inputs):
        if tensor.values.ndim != 2:  # scales of channels have no order of axes
            continue
        name, values = names.fresh(f"{tensor.name}/turned"), np.ascontiguousarray(tensor.values.T)
        packed = tensor.export_dtype in PACKED
        weight.inputs[index] = (
            packed_constant(name, values, tensor.export_dtype) if packed else gs.Constant(name, values)
        )
    if weight.inputs[1].values.ndim:
        weight.attrs["axis"] = 1 - int(weight.attrs.get("axis", 1)) % 2
    weight.outputs[0].shape = weight.inputs[0].shape
    gemm.attrs["transB"] = 0
