"""The error of rounding is measured on the layer's own output, for the grids of each backend."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from numpy.typing import NDArray

from onnxq.backends import backend_of
from onnxq.layer_error import Grids, LayerError, gain_db
from onnxq.scheme import ActivationSchemes, Scheme
from onnxq.testing import normal

WEIGHT = Scheme(signed=True, symmetric=True, axis=0)
UNSIGNED = Grids(ActivationSchemes.always(Scheme(signed=False, symmetric=False)), WEIGHT)
LOUD = np.array([1, 100, 10, 1], np.float32)


def layer(op: str, weight: NDArray[np.float32], rank: int, **attrs: Any) -> gs.Node:
    read = gs.Variable("x", np.float32, [None] * rank)
    return gs.Node(op, "l", attrs, [read, gs.Constant("w", weight)], [gs.Variable("y")])


LAYERS = {
    "Conv": (layer("Conv", normal(6, 4, 3, 3) / LOUD.reshape(4, 1, 1), 4, pads=[1, 1, 1, 1]), (2, 4, 8, 8), 1),
    "depthwise": (layer("Conv", normal(4, 1, 3, 3) / LOUD.reshape(4, 1, 1, 1), 4, group=4), (2, 4, 8, 8), 1),
    "groups": (layer("Conv", normal(6, 2, 1, 1) / LOUD[[[0, 1]] * 3 + [[2, 3]] * 3].reshape(6, 2, 1, 1), 4, group=2),
               (2, 4, 8, 8), 1),
    "ConvTranspose": (layer("ConvTranspose", normal(4, 6, 2, 2) / LOUD.reshape(4, 1, 1, 1), 4), (2, 4, 5, 5), 1),
    "Gemm": (layer("Gemm", normal(4, 6) / LOUD.reshape(4, 1), 2), (64, 4), 1),
    "Gemm, transposed": (layer("Gemm", normal(6, 4) / LOUD, 2, transB=1), (64, 4), 1),
    "MatMul": (layer("MatMul", normal(4, 6) / LOUD.reshape(4, 1), 3), (64, 4), 1),
}  # fmt: skip


def samples(*shape: int) -> NDArray[np.float32]:
    return normal(*shape, seed=3) * LOUD.reshape(4, *[1] * (len(shape) - 2))


@pytest.mark.parametrize("name", LAYERS)
def test_channels_of_one_range_err_less_where_the_weights_do_not_pay(name: str) -> None:
    node, shape, _ = LAYERS[name]
    error = LayerError([node], samples(*shape), 17, [UNSIGNED])
    before, after = error(np.ones(4)), error(LOUD.max() / LOUD.astype(np.float64))
    assert gain_db(before, after) > 15
    assert 10 * np.log10(after[0]) < -35


def test_the_error_is_that_of_the_rounded_layer() -> None:
    """By hand: values on multiples of 1 are exact on a grid of 256 of them, and so are weights of one magnitude."""
    values = np.arange(256, dtype=np.float32).reshape(-1, 2)
    error = LayerError([layer("MatMul", np.ones((2, 1), np.float32), 2)], values, 17, [UNSIGNED])
    assert error(np.ones(2))[0] < 1e-10
    assert error(np.array([1, 0.5]))[0] > 1e-7


def test_layers_count_alike_however_loud_they_are() -> None:
    quiet, loud = layer("MatMul", normal(4, 6), 2), layer("MatMul", 1000 * normal(4, 6), 2)
    both = LayerError([quiet, loud], normal(64, 4, seed=3), 17, [UNSIGNED])(np.ones(4))
    one = LayerError([quiet], normal(64, 4, seed=3), 17, [UNSIGNED])(np.ones(4))
    np.testing.assert_allclose(both, 2 * one, rtol=1e-3)


def test_every_backend_has_its_own_grids() -> None:
    grids = [Grids(backend_of(name).activation, backend_of(name).weight.along(0)) for name in ("openvino", "tensorrt")]
    values = np.maximum(normal(64, 4, seed=3), 0)
    found = LayerError([layer("MatMul", normal(4, 6), 2)], values, 17, grids)(np.ones(4))
    assert 3 < gain_db(found[1:], found[:1]) < 7  # i8 has half the integers of u8 behind a ReLU


def test_one_scale_for_all_of_a_weight_errs_more() -> None:
    node = layer("MatMul", normal(4, 6) * np.geomspace(1, 100, 6).astype(np.float32), 2)
    whole = Grids(UNSIGNED.activation, Scheme(signed=True, symmetric=True, bits=4))
    each = Grids(UNSIGNED.activation, Scheme(signed=True, symmetric=True, bits=4, axis=0))
    found = LayerError([node], normal(64, 4, seed=3), 17, [whole, each])(np.ones(4))
    assert found[0] > found[1]


def test_a_layer_that_makes_nothing_has_no_error() -> None:
    error = LayerError([layer("MatMul", np.zeros((4, 6), np.float32), 2)], normal(64, 4), 17, [UNSIGNED])
    assert error(np.ones(4)) == [0] and gain_db(error(np.ones(4)), error(np.ones(4))) == 0


def test_of_weights_that_are_solved_less_of_the_error_is_left() -> None:
    node, values = layer("MatMul", normal(8, 6), 2), normal(64, 8, seed=3)
    errors = [LayerError([node], values, 17, [UNSIGNED], left)(np.ones(8))[0] for left in (1.0, 0.25, 0.0)]
    assert errors[0] > errors[1] > errors[2] > 0
    np.testing.assert_allclose(errors[1] - errors[2], 0.25 * (errors[0] - errors[2]), rtol=0.5)
