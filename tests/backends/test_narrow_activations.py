"""Activations of other than 8 bits: what the graph computes on every backend, and what engines make of it."""

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest

from onnxq import Options, quantize
from onnxq.backends import BACKENDS, TARGETS, backend_of
from onnxq.errors import RecipeError
from onnxq.result import BackendResult
from onnxq.sqnr import sqnr_db
from onnxq.testing import normal, parse, run, scaled

BODY = """[one] a = Conv<pads=[1,1,1,1]>(x, w) [act] b = Relu(a) [two] c = Conv(b, v) [add] d = Add(c, b)
    [three] e = Conv(d, v) [four] y = Conv(e, v)"""
MODEL = parse(f"g (float[N,8,8,8] x) => (float[N,16,8,8] y) {{ {BODY} }}",
              w=scaled(16, 8, 3, 3), v=scaled(16, 16, 1, 1, seed=1))  # fmt: skip
X = normal(16, 8, 8, 8)
NAMES = (*BACKENDS, *(name for name in TARGETS if name != "nnie"))


def made(backend: str, bits: int) -> BackendResult:
    return quantize(MODEL, {"x": X}, backend=backend, options=Options(build=False, activation_bits=bits))[backend]


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("bits", [2, 4, 7])
def test_a_tensor_has_no_more_values_than_its_grid(backend: str, bits: int) -> None:
    entry = made(backend, bits)
    model = onnx.shape_inference.infer_shapes(entry.model)
    onnx.checker.check_model(model, full_check=True)
    narrow = {name: params for name, params in entry.activations.items() if params.scheme.bits == bits}
    assert {"b", "d"} <= narrow.keys()
    read = {node.input[1]: node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    kinds = {value.name: value for value in model.graph.value_info}
    outputs = {name: read[f"{name}/scale"] for name in narrow}
    model.graph.output.extend(kinds[name] for name in outputs.values())
    found = run(model, x=3 * X)  # beyond the range of the samples too
    for name, output in outputs.items():
        scheme = narrow[name].scheme
        least = 2 if bits == 2 else 2 ** (bits - 1)  # a signed grid behind a Relu has half of its integers
        assert least <= len(np.unique(found[output])) <= scheme.highest - scheme.lowest + 1


@pytest.mark.parametrize("backend", NAMES)
def test_more_bits_are_closer(backend: str) -> None:
    reference = run(MODEL, x=X)["y"]
    bits = (2, 3, 4, 5, 6, 7, 8, *([16] if backend_of(backend).wide else []))
    found = [sqnr_db(reference, run(made(backend, each).model, x=X)["y"]) for each in bits]
    assert all(few < many for few, many in pairwise(found)), found


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "tensorrt"])
def test_engines_compute_narrow_grids_as_integers_of_8_bits(backend: str) -> None:
    entry = made(backend, 4)
    engine = backend_of(backend).engine(entry.model, {"x": X.shape})
    reading = engine.read_back()
    assert [layer.precision for layer in reading.layers] == ["int8"] * 4
    if reading.executed:
        # An engine keeps more precision between operators, and a step of 4 bits is wide.
        exact, wide = run(entry.model, x=3 * X)["y"], run(made(backend, 8).model, x=3 * X)["y"]
        assert sqnr_db(exact, engine.run({"x": 3 * X})["y"]) > sqnr_db(exact, wide) + 6


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_compute_16_bits_in_float(backend: str, opset: int) -> None:
    model = parse(f"g (float[N,8,8,8] x) => (float[N,16,8,8] y) {{ {BODY} }}", opset,
                  w=scaled(16, 8, 3, 3), v=scaled(16, 16, 1, 1, seed=1))  # fmt: skip
    entry = quantize(model, {"x": X}, backend=backend, options=Options(activation_bits=16))[backend]
    assert entry.problem is None and entry.built is not None and entry.built.int8_nodes == 0
    assert entry.judged is not None and min(likeness.sqnr_db for likeness in entry.judged.engine) > 35


def test_a_backend_without_16_bits_refuses_before_anything_is_done() -> None:
    with pytest.raises(RecipeError, match="TensorRT takes no activations of 16 bits"):
        quantize(MODEL, {"x": X}, backend=["onnxruntime", "tensorrt"], options=Options(activation_bits=16))


def test_files_beside_the_model_say_the_bits_or_that_they_cannot() -> None:
    qnn, tengine = made("qnn", 4), made("tengine", 4)
    assert qnn.delivery is not None
    widths = {row["name"]: row["bw"] for row in json.loads(qnn.delivery.text)["activation_encodings"]}
    assert (widths["x"], widths["c"]) == (4, 8)
    assert any("cannot say: its tools will take 8" in entry.reason for entry in tengine.ledger.of("warning"))
    assert not any("cannot say" in entry.reason for entry in qnn.ledger.of("warning"))
