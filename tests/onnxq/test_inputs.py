"""What a model wants to be fed."""

import numpy as np
import onnx
import pytest

from onnxq.errors import ModelError
from onnxq.inputs import BatchAxis, InputSpec, batch_axis, input_specs

F32 = np.dtype(np.float32)


def test_inputs_are_read_and_initializers_are_not() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 3, 4] x, int64[2] steps, float w, float[3] scale) => (float[N, 3, 4] y)
        <float w = {1.0}> { y = Mul(x, w) }""")
    specs = input_specs(model)
    assert [spec.name for spec in specs] == ["x", "steps", "scale"]
    assert specs[0] == InputSpec("x", F32, ("N", 3, 4))
    assert str(specs[0]) == "float32[N,3,4]"
    assert str(InputSpec("x", F32, (None, None, 4))) == "float32[N,?,4]"


def test_a_dimension_of_minus_one_is_free() -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [-1, 3])
    graph = onnx.helper.make_graph([], "g", [value], [value])
    assert input_specs(onnx.helper.make_model(graph))[0].shape == (None, 3)


def test_a_sequence_is_refused() -> None:
    value = onnx.helper.make_tensor_sequence_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([], "g", [value], [])
    with pytest.raises(ModelError, match="'x' is a sequence_type"):
        input_specs(onnx.helper.make_model(graph))


def test_an_input_without_shape_and_a_model_without_inputs_are_refused() -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)
    with pytest.raises(ModelError, match="'x' has no dtype or shape"):
        input_specs(onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], [])))
    with pytest.raises(ModelError, match="no inputs"):
        input_specs(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])))


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([("N", 3), (None,)], BatchAxis(True, None)),
        ([(4, 3), ("N", 2)], BatchAxis(True, 4)),
        ([(4, 3), (2, 3)], BatchAxis(False, None)),
        ([("N", 3), ()], BatchAxis(False, None)),
    ],
)
def test_batch_axis(shapes: list[tuple[int | str | None, ...]], axis: BatchAxis) -> None:
    assert batch_axis([InputSpec(str(i), F32, shape) for i, shape in enumerate(shapes)]) == axis
