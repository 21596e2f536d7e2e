"""A quantized model for another engine: its integers and scales kept, and the engine's layers read back."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq
from onnxq import Options, quantize, retarget
from onnxq.errors import ModelError
from onnxq.lifting.lift import Lifted, lift
from onnxq.models.card import load_card
from onnxq.result import Result
from onnxq.samples import input_specs, open_samples
from onnxq.scheme import same_grid
from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, normal, ops, parse, run

CARD = "digits_mobilenet"
BACKENDS = ("onnxruntime", "openvino", "tensorrt")
NO_BUILD = Options(build=False)


@cache
def direct() -> Result:
    """The shipped model, quantized for every engine."""
    return quantize(load_card(CARD), backend=BACKENDS)


@cache
def moved(source: str, target: str) -> Result:
    """That of one engine, for another, with data for what has no grid."""
    card = load_card(CARD)
    options = Options(preprocessing=card.preprocessing)
    return retarget(direct()[source].model, target, card.calibration_path, options=options)


@cache
def images() -> Array:
    card = load_card(CARD)
    assert card.test_path is not None
    inputs = input_specs(onnx.load(card.model_path))
    return next(open_samples(card.test_path, inputs, preprocessing=card.preprocessing).batches(64)).feeds["image"]


def integers(lifted: Lifted) -> Mapping[str, list[int]]:
    return {name: kept.integers.tolist() for name, kept in lifted.weights.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_lifted_from_our_own_graphs_is_the_float_model_with_rounded_weights(backend: str) -> None:
    lifted = lift(direct()[backend].model)
    assert lifted.notes == ()
    reference = run(onnx.load(load_card(CARD).model_path), image=images())
    found = run(lifted.model, image=images())
    assert all(sqnr_db(reference[name], found[name]) > 37 for name in reference)
    assert len(lifted.activations) == len(direct()[backend].activations)
    assert len(lifted.weights) == len(direct()[backend].weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_for_the_same_engine_integers_and_scales_are_identical(backend: str) -> None:
    given = direct()[backend].model
    result = retarget(given, backend, options=NO_BUILD)[backend]
    before, after = lift(given), lift(result.model)
    assert before.activations.keys() == after.activations.keys()
    for tensor, grids in before.activations.items():
        assert all(same_grid(a.params, b.params) for a, b in zip(grids, after.activations[tensor], strict=True))
    assert integers(before) == integers(after)
    assert all(same_grid(kept.params, after.weights[name].params) for name, kept in before.weights.items())
    x = images()[:8]
    assert np.array_equal(run(given, image=x)["logits"], run(result.model, image=x)["logits"])
    assert sorted(ops(given)) == sorted(ops(result.model))


@pytest.mark.parametrize("source", BACKENDS)
@pytest.mark.parametrize("target", BACKENDS)
def test_for_another_engine_as_many_layers_are_integer_as_when_quantized_for_it(source: str, target: str) -> None:
    found, wanted = moved(source, target)[target], direct()[target]
    assert found.problem is None
    assert found.built is not None
    assert wanted.built is not None
    assert found.built.int8_nodes == wanted.built.int8_nodes
    assert found.judged is not None
    assert wanted.judged is not None
    reference = run(onnx.load(load_card(CARD).model_path), image=images())
    loss = [
        min(sqnr_db(reference[name], array) for name, array in run(model, image=images()).items())
        for model in (wanted.model, found.model)
    ]
    assert loss[1] > loss[0] - 4.5  # u8 in i8 has steps twice as wide
    assert found.judged.given_graph[0].sqnr_db > 30
    assert found.kept is not None
    assert found.kept.weights == len(lift(direct()[source].model).weights.keys() & {w.tensor for w in found.weights})


def test_without_data_what_has_no_grid_stays_float_and_is_said_to() -> None:
    result = retarget(direct()["tensorrt"].model, "onnxruntime")
    entry = result["onnxruntime"]
    assert entry.built is not None
    assert 0 < entry.built.int8_nodes < 23
    assert any("calibrate it with --data" in reason for reason, _ in entry.ledger.reasons("declined"))
    assert any("no grid in the model given" in reason for reason, _ in entry.ledger.reasons("float"))
    assert "RANDOM NUMBERS" in result.data


STYLES: dict[str, dict[str, Any]] = {
    "S8S8": {},
    "S8S8 symmetric": {"extra_options": {"ActivationSymmetric": True}},
    "U8S8 per channel": {"unsigned": True, "per_channel": True},
    "U8U8": {"unsigned": True, "unsigned_weights": True},
    "weights with a pair": {"unsigned": True, "extra_options": {"AddQDQPairToWeight": True}},
    "a pair for each reader": {"unsigned": True, "extra_options": {"DedicatedQDQPair": True}},
    "QOperator": {"unsigned": True, "operator": True},
    "QOperator S8S8 per channel": {"operator": True, "per_channel": True},
}


def peer(folder: Path, style: str) -> onnx.ModelProto:
    """The shipped model, from onnxruntime's quantizer."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options = dict(STYLES[style])
    feeds = iter([{"image": image[np.newaxis]} for image in images()[:16]])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Array] | None:
            return next(feeds, None)

    quant_pre_process(load_card(CARD).model_path, folder / "prepared.onnx", skip_symbolic_shape=True)
    quantize_static(
        folder / "prepared.onnx",
        folder / "quantized.onnx",
        Reader(),
        quant_format=QuantFormat.QOperator if options.pop("operator", False) else QuantFormat.QDQ,
        activation_type=QuantType.QUInt8 if options.pop("unsigned", False) else QuantType.QInt8,
        weight_type=QuantType.QUInt8 if options.pop("unsigned_weights", False) else QuantType.QInt8,
        **options,
    )
    return onnx.load(folder / "quantized.onnx")


@pytest.mark.parametrize("style", STYLES)
def test_graphs_of_onnxruntimes_quantizer_run_on_tensorrt(style: str, tmp_path: Path) -> None:
    given = peer(tmp_path, style)
    entry = retarget(given, "tensorrt")["tensorrt"]
    wanted = direct()["tensorrt"].built
    assert entry.problem is None
    assert entry.built is not None
    assert wanted is not None
    assert entry.built.int8_nodes == wanted.int8_nodes
    assert entry.kept is not None
    assert (entry.kept.weights == entry.kept.of_weights) == (style != "U8U8")
    before, after = run(given, image=images())["logits"], run(entry.model, image=images())["logits"]
    assert np.mean(before.argmax(-1) == after.argmax(-1)) > 0.98


def test_qonnx_is_read_though_it_cannot_be_run() -> None:
    graph = """g (float[1,8] x) => (float[1,8] y) {
        xq = onnx.brevitas.Quant<signed = 1, narrow = 0>(x, s, z, four)
        wq = onnx.brevitas.Quant<signed = 1, narrow = 1>(w, ws, z, eight) [mul] y = MatMul(xq, wq) }"""
    numbers = {"s": 0.3, "ws": 0.01, "z": 0, "four": 4, "eight": 8}
    given = parse(graph, w=normal(8, 8))
    given.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()
    )
    given.opset_import.append(onnx.helper.make_opsetid("onnx.brevitas", 1))
    entry = retarget(given, "openvino")["openvino"]
    assert entry.built is not None
    assert entry.built.int8_nodes == 1
    assert entry.kept is not None and (entry.kept.weights, entry.kept.activations) == (1, 1)
    assert any("not compared with the model given" in reason for reason, _ in entry.ledger.reasons("warning"))
    assert lift(given).weights["w"].integers.min() == -127  # narrow


MIXED = """g (float[N,4] x) => (float[N,4] y) {
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
    wd = DequantizeLinear(w, s, z) [one] a = MatMul(d, wd) [act] r = Relu(a) [two] y = MatMul(r, v) }"""


def mixed() -> onnx.ModelProto:
    return parse(
        MIXED,
        w=normal(4, 4, scale=50).astype(np.int8),
        v=normal(4, 4),
        s=np.array(0.02, np.float32),
        z=np.array(0, np.int8),
    )


def test_a_layer_that_was_float_stays_float_without_data() -> None:
    entry = retarget(mixed(), "openvino", options=NO_BUILD)["openvino"]
    assert entry.plan.floats["two"] == "its weight is float in the model given"
    assert {weight.tensor for weight in entry.weights} == {"w"}


def test_with_data_it_is_calibrated_and_rounded() -> None:
    entry = retarget(mixed(), "openvino", {"x": normal(16, 4)}, options=NO_BUILD)["openvino"]
    assert {weight.tensor for weight in entry.weights} == {"w", "v"}
    reasons = {line.subject: line.reason for line in entry.ledger.of("changed")}
    assert "calibrated on the samples" in reasons["r"]
    assert "was float in the model given" in reasons["v"]
    assert entry.kept is not None
    assert (entry.kept.weights, entry.kept.activations) == (1, 1)


def test_what_has_no_grid_at_all_is_refused_with_the_way_out(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    graph = "g (float[N,4] x) => (float[N,4] y) { [one] y = MatMul(x, w) }"
    onnx.save(parse(graph, w=normal(4, 4)), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "quantized.onnx")
    with pytest.raises(ModelError, match=r"no grid in the model given.*--data FILE"):
        retarget(tmp_path / "quantized.onnx", "openvino")
    entry = retarget(tmp_path / "quantized.onnx", "openvino", {"x": normal(16, 4)}, options=NO_BUILD)["openvino"]
    assert len(entry.weights) == 1


def test_a_float_model_is_refused() -> None:
    graph = "g (float[N,4] x) => (float[N,4] y) { y = MatMul(x, w) }"
    with pytest.raises(ModelError, match=r"has no Q/DQ nodes.*onnxq quantize"):
        retarget(parse(graph, w=normal(4, 4)), "openvino")


def test_the_package_offers_it() -> None:
    assert onnxq.retarget is retarget
