"""What is drawn of a graph: it agrees with what the tensors themselves say."""

import numpy as np
import onnx
import pytest

from onnxq.inputs import Array
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.portrait import BINS, Portrait
from onnxq.result import BackendResult
from onnxq.scheme import dequantize
from onnxq.scheme import quantize as to_grid
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal


def portrayed(model: onnx.ModelProto, x: Array, calibrator: str = "mse") -> tuple[BackendResult, Portrait]:
    recipe = {"passes": ["plan", "calibrate", "round_weights", "insert_qdq"]}
    options = Options(calibrator, build=False, portrayed=True)
    result = quantize(model, {"x": x}, recipe=recipe, options=options)["onnxruntime"]
    assert result.portrait is not None
    return result, result.portrait


def test_values_are_counted_between_their_extremes(two_layers: onnx.ModelProto) -> None:
    x = normal(256, 4)
    seen = portrayed(two_layers, x)[1].activations["x"]
    assert (seen.low, seen.high) == (x.min(), x.max())
    assert len(seen.counts) == BINS and sum(seen.counts) == x.size
    wanted, _ = np.histogram(x, BINS)
    assert np.abs(np.cumsum(seen.counts) - np.cumsum(wanted)).max() <= 0.01 * x.size  # a bucket may lie in two bins


def test_the_error_of_a_grid_is_that_of_its_values(two_layers: onnx.ModelProto) -> None:
    x = normal(4096, 4)
    result, portrait = portrayed(two_layers, x)
    params, seen = result.activations["x"], portrait.activations["x"]
    assert seen.sqnr_db == pytest.approx(sqnr_db(x, dequantize(to_grid(x, params), params)), abs=0.5)


def test_the_error_of_weights(two_layers: onnx.ModelProto) -> None:
    result, portrait = portrayed(two_layers, normal(64, 4))
    wanted = normal(4, 4)
    ((weight, rounded),) = result.weights.items()
    assert portrait.weights == {weight.tensor: sqnr_db(wanted, dequantize(rounded.integers, rounded.params))}
    assert 30 < portrait.weights[weight.tensor] < 70


def test_half_a_step_beyond_the_grid_is_not_clipped(two_layers: onnx.ModelProto) -> None:
    assert portrayed(two_layers, normal(64, 4), "minmax")[1].activations["x"].clipped in (0.0, None)


def test_values_weighed_by_their_readers_are_drawn(two_layers: onnx.ModelProto) -> None:
    assert sum(portrayed(two_layers, normal(64, 4), "auto")[1].activations["x"].counts) > 0


def test_it_is_drawn_only_where_asked_for(two_layers: onnx.ModelProto) -> None:
    assert quantize(two_layers, {"x": normal(8, 4)}, options=Options(build=False))["onnxruntime"].portrait is None
