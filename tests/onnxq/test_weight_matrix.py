"""A layer's weight as the matrix that multiplies columns."""

import numpy as np
import onnx
import pytest

from onnxq.errors import Declined
from onnxq.model import load_model, to_graph
from onnxq.testing import normal, parse
from onnxq.weight_matrix import as_matrix, from_matrix, weight_matrix

LAYERS = {
    "y = Conv <group = 2> (x, w)": (normal(6, 2, 3, 3), (2, 3, 18)),
    "y = ConvTranspose <group = 2> (x, w)": (normal(6, 2, 3, 3), (2, 2, 27)),
    "y = Gemm (x, w)": (normal(4, 5), (1, 5, 4)),
    "y = Gemm <transB = 1> (x, w)": (normal(5, 4), (1, 5, 4)),
    "y = MatMul (x, w)": (normal(4, 5), (1, 5, 4)),
    "y = MatMul (w, x)": (normal(5, 4), (1, 5, 4)),
    "[l] y = MatMul (x, w)": (normal(3, 4, 5), (3, 5, 4)),
}


@pytest.mark.parametrize("text", LAYERS)
def test_it_has_one_matrix_a_group_and_goes_back(text: str) -> None:
    weight, shape = LAYERS[text]
    node = to_graph(load_model(model(text, weight))).nodes[0]
    matrix = weight_matrix(node)
    assert matrix.shape == shape
    np.testing.assert_array_equal(from_matrix(node, matrix), weight)
    np.testing.assert_array_equal(as_matrix(node, 2 * weight), 2 * matrix)


def test_a_depthwise_layer_has_a_matrix_of_one_row_a_channel() -> None:
    weight = normal(6, 1, 3, 3)
    node = to_graph(load_model(model("y = Conv <group = 6> (x, w)", weight))).nodes[0]
    np.testing.assert_array_equal(weight_matrix(node), weight.reshape(6, 1, 9))


def test_computed_weights_have_none() -> None:
    node = to_graph(load_model(parse("g (float[4,4] x) => (float[4,4] y) { y = MatMul(x, x) }"))).nodes[0]
    with pytest.raises(Declined, match="computed at run time"):
        weight_matrix(node)


def model(text: str, weight: np.ndarray) -> onnx.ModelProto:
    rank = 2 if "Gemm" in text else 4 if "Conv" in text else weight.ndim
    axes = {2: "4,4", 3: "3,4,4", 4: "N,6,8,8"}[rank] if "group = 2" not in text or "Transpose" in text else "N,4,8,8"
    return parse(f"g (float[{axes}] x) => (float[{','.join('ABCDE'[:rank])}] y) {{ {text} }}", w=weight)
