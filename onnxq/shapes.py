"""Shapes of a graph's tensors, inferred again after constants were folded, which tell more of them."""

import onnx
import onnx_graphsurgeon as gs

from onnxq.graph import is_constant
from onnxq.mapped_constants import rest_constants
from onnxq.model import graphsurgeon_hushed


def infer_shapes(graph: gs.Graph) -> None:
    """What was known of a tensor and is not inferred stays; inputs and outputs of the graph stay as they are."""
    rest_constants(graph)
    with graphsurgeon_hushed():
        model = gs.export_onnx(graph, do_type_check=False)
    del model.graph.value_info[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return  # shapes are a help, not a need
    tensors = graph.tensors()
    fixed = {tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    for value in inferred.graph.value_info:
        tensor = tensors.get(value.name)
        if tensor is None or is_constant(tensor) or value.name in fixed or not value.type.tensor_type.HasField("shape"):
            continue
        tensor.shape = _merged(tensor.shape, value.type.tensor_type.shape)
        if tensor.dtype is None and value.type.tensor_type.elem_type:
            tensor.dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _merged(known: list[int | str] | None, found: onnx.TensorShapeProto) -> list[int | str]:
    """Numbers from either, else what is inferred: names of free sizes are from one inference, so that they agree."""
    new = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in found.dim]
    if known is None or len(known) != len(new):
        return new
    return [
        had if isinstance(had, int) and not isinstance(has, int) else has for had, has in zip(known, new, strict=True)
    ]
