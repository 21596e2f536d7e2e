"""Graphs as other quantizers write them: what is said of each, beside what the engine does with it."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.models.card import load_card, shipped_cards
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.samples import input_specs, open_samples
from onnxq.testing import normal, parse

See = Callable[..., Any]
ENGINES = ("onnxruntime", "openvino", "tensorrt")
BLOCK = """g (float[N,8,12,12] x) => (float[N,10] y) {
    [one] a = Conv<pads = [1,1,1,1]>(x, w, b) [act] r = Relu(a)
    [two] c = Conv<pads = [1,1,1,1]>(r, v, b) [sum] s = Add(c, r) [last] t = Relu(s)
    [pool] p = GlobalAveragePool(t) [flat] f = Flatten(p) [head] y = Gemm<transB = 1>(f, u, d) }"""
WEIGHTS = ("w", "v", "u")


def block(opset: int = 17, **grids: Grid) -> onnx.ModelProto:
    """A residual block, with float weights behind Q and DQ, as exporters of fake quantization write them."""
    arrays = {"w": normal(8, 8, 3, 3, scale=0.2), "v": normal(8, 8, 3, 3, seed=1, scale=0.2), "u": normal(10, 8)}
    model = parse(BLOCK, opset, **arrays, b=normal(8), d=normal(10))
    fake = Grid("int8", 0, 0, stored=False)
    return handmade(model, {**dict.fromkeys(WEIGHTS, fake), **grids})


def clipped(model: onnx.ModelProto) -> onnx.ModelProto:
    """With a Clip of the integers between each Q and DQ, as PyTorch exports ranges narrower than 8 bits."""
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear":
            zero = next(t for t in model.graph.initializer if t.name == node.input[2])
            signed = zero.data_type == onnx.TensorProto.INT8
            dtype, reach = (np.int8, (-127, 127)) if signed else (np.uint8, (0, 127))
            ends = [np.array(end, dtype) for end in reach]
            name = node.output[0]
            names = [f"{name}.low", f"{name}.high"]
            model.graph.initializer.extend(
                onnx.numpy_helper.from_array(*pair) for pair in zip(ends, names, strict=True)
            )
            node.output[0] = f"{name}.wide"
            at = next(i for i, other in enumerate(model.graph.node) if name in other.input)
            made = onnx.helper.make_node("Clip", [f"{name}.wide", *names], [name], f"{node.name}/Clip")
            model.graph.node.insert(at, made)
    return model


# Model Optimizer: int8 symmetric on the inputs of layers and on the skip branch. AIMET: uint8 on every output.
# PyTorch: fake quantization on inputs of layers, clipped to 7 bits on old CPUs.
STYLES: dict[str, Callable[[], onnx.ModelProto]] = {
    "modelopt": lambda: block(x=I8, r=I8, f=I8),
    "aimet": lambda: block(x=U8, r=POSITIVE, c=U8, t=POSITIVE, p=POSITIVE, y=U8),
    "pytorch": lambda: clipped(block(x=Grid("uint8", 64), r=POSITIVE, f=POSITIVE)),
}
SAID: dict[tuple[str, str], dict[str, str]] = {
    ("modelopt", "onnxruntime"): dict.fromkeys(
        ("output_needed", "relu_not_absorbed", "signed_branch", "float_bias_of_gemm"), "float"
    ),
    ("modelopt", "openvino"): {},
    ("modelopt", "tensorrt"): {},
    ("aimet", "onnxruntime"): {"half_quantized": "float"},
    ("aimet", "openvino"): {},
    ("aimet", "tensorrt"): {"asymmetric": "rejected", "unsigned": "wrong", "float_operator": "float"},
    ("pytorch", "onnxruntime"): {"output_needed": "float", "float_bias_of_gemm": "float"},
    ("pytorch", "openvino"): {"clipped_weights": "float"},
    ("pytorch", "tensorrt"): {"asymmetric": "rejected", "unsigned": "wrong"},
}


@pytest.mark.parametrize(("style", "backend"), SAID)
def test_styles_of_peers(see: See, style: str, backend: str) -> None:
    seen = see(STYLES[style](), backend, 3)
    assert seen.rules == SAID[style, backend]
    assert seen.refused == ("rejected" in seen.rules.values())
    if not seen.refused:
        floats = {name for name, precision in seen.precisions.items() if precision in ("fp32", "int8 weights")}
        assert floats == {entry.node for entry in seen.found.findings}


MODES: dict[str, dict[str, Any]] = {
    "u8s8": {"activation_type": "QUInt8", "weight_type": "QInt8", "per_channel": True},
    "s8s8": {"activation_type": "QInt8", "weight_type": "QInt8"},
    "u8u8": {"activation_type": "QUInt8", "weight_type": "QUInt8"},
    "u16s8": {"activation_type": "QUInt16", "weight_type": "QInt8"},
    "qoperator": {"activation_type": "QInt8", "weight_type": "QInt8", "quant_format": "QOperator"},
}
# By onnxruntime's own quantizer: what is said on onnxruntime, OpenVINO and TensorRT.
OWN: dict[str, tuple[set[str], set[str], set[str]]] = {
    "u8s8": (set(), set(), {"asymmetric", "int32_bias", "unsigned", "float_operator"}),
    "s8s8": ({"signed_branch"}, set(), {"asymmetric", "int32_bias", "float_operator"}),
    "u8u8": ({"weight_grid"}, {"weight_grid"}, {"asymmetric", "int32_bias", "unsigned", "float_operator"}),
    "u16s8": (
        {"integer_type"},
        {"integer_type", "clipping_dropped", "outputs"},
        {"asymmetric", "integer_type", "int32_bias", "float_operator"},
    ),
    "qoperator": ({"slow_signed_kernels"}, {"integer_operator"}, {"asymmetric", "integer_operator"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], onnx.ModelProto]:
    """``digits_mobilenet`` by onnxruntime's quantizer, in one of its modes."""
    folder, card = tmp_path_factory.mktemp("peers"), load_card("digits_mobilenet")

    def make(mode: str) -> onnx.ModelProto:
        from onnxruntime import quantization as ort

        class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.left: Iterator[dict[str, Any]] = iter(samples)

            def get_next(self) -> dict[str, Any] | None:
                return next(self.left, None)

        specs = input_specs(onnx.load(card.model_path))
        data = open_samples(card.calibration_path, specs, preprocessing=card.preprocessing, limit=8)
        samples = [part.feeds for part in data.batches(1)]
        options = dict(MODES[mode])
        for key in ("activation_type", "weight_type"):
            options[key] = getattr(ort.QuantType, options[key])
        options["quant_format"] = getattr(ort.QuantFormat, options.get("quant_format", "QDQ"))
        out = folder / f"{mode}.onnx"
        logging.disable(logging.WARNING)
        try:
            ort.quantize_static(str(card.model_path), str(out), Reader(), **options)
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(out)

    return make


@pytest.mark.parametrize("mode", OWN)
def test_onnxruntime_s_quantizer(see: See, made: Callable[[str], onnx.ModelProto], mode: str) -> None:
    model = made(mode)
    for backend, rules in zip(ENGINES, OWN[mode], strict=True):
        seen = see(model, backend, 4)
        assert set(seen.rules) - {"time"} == rules, backend
        if backend == "tensorrt" or (mode, backend) == ("qoperator", "openvino"):
            assert seen.refused and "rejected" in seen.rules.values()
        else:
            assert not seen.refused
            float_rules = {e.node for e in seen.found.findings if e.severity == "float"}
            floats = {name for name, precision in seen.precisions.items() if precision != "int8"}
            assert mode == "u16s8" or floats == float_rules


@pytest.mark.parametrize("name", shipped_cards())
def test_our_own_graphs_are_clean_where_they_belong(see: See, name: str) -> None:
    made = quantize(load_card(name), backend=(*ENGINES, "portable"), options=Options(samples=16, build=False))
    pairs = [(engine, engine) for engine in ENGINES] + [("portable", "onnxruntime"), ("portable", "openvino")]
    for backend, engine in pairs:
        seen = see(made[backend].model, engine)
        assert set(seen.rules.values()) <= {"slow"}, (backend, engine, seen.rules)
        assert not seen.refused


def test_a_graph_for_tensorrt_on_openvino_is_caught(see: See, tmp_path: Path) -> None:
    """Its Concats are int8, which OpenVINO garbles."""
    options = Options(samples=16, build=False)
    model = quantize(load_card("shapes_detector"), backend="tensorrt", options=options).quantized
    seen = see(model, "openvino")
    assert seen.rules["signed_concat"] == seen.rules["outputs"] == "wrong"
    assert set(seen.precisions.values()) == {"int8"}  # nothing else would tell
