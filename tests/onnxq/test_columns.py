"""The columns of Gemm and MatMul, whatever is transposed and stacked."""

import numpy as np
import pytest

from onnxq.columns import columns_of
from onnxq.errors import Declined
from onnxq.model import load_model, to_graph
from onnxq.testing import Array, normal, parse, run
from onnxq.weight_matrix import weight_matrix

LAYERS: dict[str, tuple[str, Array, Array]] = {
    "gemm": ("y = Gemm (x, w)", normal(7, 4), normal(4, 5)),
    "transB": ("y = Gemm <transB = 1> (x, w)", normal(7, 4), normal(5, 4)),
    "transA": ("y = Gemm <transA = 1> (x, w)", normal(4, 7), normal(4, 5)),
    "matmul": ("y = MatMul (x, w)", normal(2, 3, 7, 4), normal(4, 5)),
    "leading ones": ("y = MatMul (x, w)", normal(2, 3, 7, 4), normal(1, 1, 4, 5)),
    "left": ("y = MatMul (w, x)", normal(2, 4, 7), normal(5, 4)),
    "stacked": ("y = MatMul (x, w)", normal(2, 3, 7, 4), normal(3, 4, 5)),
    "stacked left": ("y = MatMul (w, x)", normal(2, 3, 4, 7), normal(3, 5, 4)),
    "broadcast to a stack": ("y = MatMul (x, w)", normal(2, 1, 7, 4), normal(3, 4, 5)),
    "vector": ("y = MatMul (x, w)", normal(4), normal(4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_matrix_times_the_columns_is_the_output(name: str) -> None:
    text, x, w = LAYERS[name]
    axes, free = ",".join(map(str, x.shape)), ",".join("ABCD"[: max(x.ndim, 1)])
    source = load_model(parse(f"g (float[{axes}] x) => (float[{free}] y) {{ {text} }}", w=w))
    node = to_graph(source).nodes[0]
    columns, matrix = columns_of(node), weight_matrix(node)
    found = columns.take(x, np.arange(columns.positions(x.shape)))
    assert found.shape[:2] == (columns.groups, columns.size) == (len(matrix), matrix.shape[2])
    made = run(source, x=x)["y"]
    made = (
        np.swapaxes(made, -1, -2) if name in ("left", "stacked left") else np.atleast_2d(made)
    )  # [..., rows, outputs]
    stacked = np.moveaxis(made, 1, 0) if columns.groups > 1 else made[np.newaxis]
    expected = np.swapaxes(stacked.reshape(columns.groups, -1, made.shape[-1]), 1, 2)
    np.testing.assert_allclose(matrix @ found, expected, rtol=1e-5, atol=1e-5)


def test_computed_weights_have_none() -> None:
    node = to_graph(load_model(parse("g (float[4,4] x) => (float[4,4] y) { y = MatMul(x, x) }"))).nodes[0]
    with pytest.raises(Declined, match="computed at run time"):
        columns_of(node)
