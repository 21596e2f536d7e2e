"""Some nodes of a model as a model of their own."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from onnxq.inputs import Array
from onnxq.reads import reads


def piece(
    like: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    fed: Mapping[str, Array],
    gives: Iterable[str],
) -> onnx.ModelProto:
    """``nodes`` in graph order, with those of the ``constants`` that they read; ``fed``: its inputs by name,
    of which the types count; ``gives``: its outputs. Opsets and functions are those of the model it is ``like``."""
    model = onnx.ModelProto()
    model.ir_version = like.ir_version
    model.opset_import.extend(like.opset_import)
    model.functions.extend(like.functions)
    model.graph.name = like.graph.name
    model.graph.node.extend(nodes)
    read = {name: None for node in nodes for name in reads(node)}
    model.graph.initializer.extend(constants[name] for name in read if name in constants)
    for name, array in fed.items():
        value = model.graph.input.add(name=name)
        value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in gives)
    return model
