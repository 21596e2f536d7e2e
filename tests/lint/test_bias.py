"""Grids of biases: what onnxruntime does with the wrong ones, seen. What TensorRT refuses is in test_activations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.testing import normal, parse

See = Callable[..., Any]
CONV = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { [one] y = Conv(x, w, b) }"
GEMM = "g (float[N,64] x) => (float[N,32] y) { [one] y = Gemm(x, w, b) }"


def with_bias(text: str, bias: Grid | str, **grids: Grid) -> onnx.ModelProto:
    """A model of one layer; ``"products"`` is the bias on the grid of the products: int32, scale ``sx * sw``."""
    shape, axis = ((16, 16, 1, 1), 0) if "Conv" in text else ((64, 32), 1)
    weights = {"w": normal(*shape, scale=0.1), "b": normal(shape[axis], seed=1)}
    model = handmade(parse(text, 21, **weights), {"w": I8.along(axis), **grids})
    if isinstance(bias, Grid):
        return handmade(model, b=bias)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scale = (found["x.scale"] * found["w.scale"]).astype(np.float32)
    made = {"b.q": np.rint(weights["b"] / scale).astype(np.int32), "b.scale": scale}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in made.items())
    model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", list(made), ["b.dq"], "b/DQ", axis=0))
    for node in model.graph.node:
        node.input[:] = ["b.dq" if name == "b" else name for name in node.input]
    return model


@pytest.mark.parametrize("bias", [Grid("int32", scale=1e-4), I8], ids=["int32 of another scale", "int8"])
def test_onnxruntime_fuses_a_quantized_bias_on_the_grid_of_the_products_only(see: See, bias: Grid) -> None:
    seen = see(with_bias(CONV, bias, x=U8, y=U8), "onnxruntime")
    assert seen.rules == {"bias_grid": "float"}
    assert seen.precisions == {"one": "fp32"}
    right = see(with_bias(CONV, "products", x=U8, y=U8), "onnxruntime")
    assert right.rules == {}
    assert right.precisions == {"one": "int8"}


def test_onnxruntime_runs_a_gemm_of_float_bias_and_output_in_float(see: See) -> None:
    text = GEMM
    bare = handmade(parse(text, 21, w=normal(64, 32), b=normal(32)), x=U8, w=I8.along(1))
    seen = see(bare, "onnxruntime", 16)
    assert seen.rules == {"float_bias_of_gemm": "float"}
    assert seen.precisions == {"one": "fp32"}
    for fine in (
        handmade(parse(text, 21, w=normal(64, 32), b=normal(32)), x=U8, w=I8.along(1), y=U8),
        with_bias(text, "products", x=U8),
    ):
        right = see(fine, "onnxruntime", 16)
        assert right.rules == {}
        assert right.precisions == {"one": "int8"}


@pytest.mark.parametrize("bias", [Grid("int32", scale=1e-4), I8], ids=["int32 of another scale", "int8"])
def test_openvino_takes_any_bias(see: See, bias: Grid) -> None:
    seen = see(with_bias(CONV, bias, x=POSITIVE), "openvino")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8"}


def test_tensorrt_takes_an_int8_bias(see: See) -> None:
    seen = see(with_bias(CONV, I8, x=I8), "tensorrt")
    assert seen.rules == {}
    assert seen.precisions == {"one": "int8"}
