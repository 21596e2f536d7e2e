"""How weights of few bits are written, backend by backend."""

from typing import Any

import numpy as np
import pytest

from onnxq.backends import backend_of
from onnxq.model import load_model, to_graph
from onnxq.packing import type_name
from onnxq.plan import Activation, Plan, Weight
from onnxq.scheme import Scheme
from onnxq.testing import normal, parse
from onnxq.weight_forms import Form, float_grid, in_blocks, packed_form, written_form

WEIGHTS: dict[str, Any] = {"w": normal(96, 32), "v": normal(32, 96), "k": normal(96, 96, 1, 1), "l": normal(4, 96)}
BODY = """[right] a = MatMul(x, w) [gemm] b = Gemm<transB=1>(x, v) [left] c = MatMul(l, x)
          [four] d = Unsqueeze(x, axes) [conv] e = Conv(d, k)"""
TEXT = f"g (float[96,96] x) => (float[96,32] a, float[96,32] b, float[4,96] c, float[A,B,C,D] e) {{ {BODY} }}"
I4, U4, I8 = Scheme(True, True, 4), Scheme(False, False, 4), Scheme(True, True)


def nodes() -> dict[str, Any]:
    graph = to_graph(load_model(parse(TEXT, 17, axes=np.array([0, 3]), **WEIGHTS)))
    return {node.name: node for node in graph.nodes}


def blocked(name: str, size: int, backend: str, scheme: Scheme = I4, *, integer: bool = False) -> tuple[Scheme, str]:
    found = nodes()
    target = backend_of(backend)
    acts = {"x": Activation("x", target.activation, "x", frozenset({(name, 0)}))} if integer else {}
    index = 0 if name == "left" else 1
    weight = Weight(found[name].inputs[index].name, scheme, frozenset({(name, index)}))
    return in_blocks(scheme, size, weight, found, Plan(acts, (weight,)), target)


@pytest.mark.parametrize(
    ("name", "size", "backend", "axis", "block"),
    [
        ("right", 32, "onnxruntime", 0, 32),
        ("gemm", 32, "onnxruntime", 1, 32),
        ("right", 64, "onnxruntime", 0, 64),  # the last block has 32 rows
        ("right", 64, "openvino", 0, 32),  # 64 does not divide 96
        ("gemm", 128, "tensorrt", 1, 32),
    ],
)
def test_blocks_go_along_the_rows_as_the_engine_takes_them(
    name: str, size: int, backend: str, axis: int, block: int
) -> None:
    found, reason = blocked(name, size, backend)
    assert (found.axis, found.block, found.bits, reason) == (axis, block, 4, "")


@pytest.mark.parametrize(
    ("name", "backend", "scheme", "integer", "reason"),
    [
        ("conv", "onnxruntime", I4, False, "only MatMul and Gemm with one matrix of weights"),
        ("left", "onnxruntime", I4, False, "only MatMul and Gemm with one matrix of weights"),
        ("right", "onnxruntime", I4, True, "computes in integers"),
        ("right", "tensorrt", I8, False, "TensorRT has no kernel for blocks of 8 bits"),
        ("right", "snpe", I4, False, "no kernel for blocks"),
    ],
)
def test_what_has_no_blocks_says_why(name: str, backend: str, scheme: Scheme, integer: bool, reason: str) -> None:
    found, said = blocked(name, 32, backend, scheme, integer=integer)
    assert reason in said
    assert (found.bits, found.block) == (4 if integer else 8, 0)


@pytest.mark.parametrize(
    ("name", "backend", "scheme", "integer", "form", "kind"),
    [
        ("conv", "onnxruntime", I4, True, Form.CAST, "INT4"),
        ("conv", "onnxruntime", Scheme(True, True, 2), True, Form.CAST, "INT2"),
        ("conv", "openvino", Scheme(True, True, 2), True, Form.CAST, "INT4"),
        ("conv", "tensorrt", I4, True, Form.EIGHT, "kernel that reads packed weights of layers in integers"),
        ("conv", "tensorrt", I4, False, Form.EIGHT, "kernel that reads packed weights of this operator"),
        ("right", "onnxruntime", U4, False, Form.DIRECT, "UINT4"),
        ("right", "onnxruntime", I4, True, Form.CAST, "INT4"),
        ("right", "tensorrt", I4.along(1), False, Form.EIGHT, "in blocks alone (--block-size)"),
        ("right", "tensorrt", Scheme(True, True, 4, 0, block=32), False, Form.DIRECT, "INT4"),
        ("right", "tensorrt", U4, False, Form.EIGHT, "does not know UINT4"),
        ("right", "snpe", I4, True, Form.EIGHT, "does not know INT4"),
        ("right", "onnxruntime", Scheme(True, True, 5), True, Form.EIGHT, ""),
    ],
)
def test_what_is_packed_still_runs_as_it_did(
    name: str, backend: str, scheme: Scheme, integer: bool, form: Form, kind: str
) -> None:
    found = written_form(scheme, 4096, [nodes()[name]], integer, backend_of(backend))
    assert found.form is form
    assert kind in (found.reason if found.packed is None else type_name(found.packed))


def test_small_weights_are_not_worth_it() -> None:
    found = written_form(I4, 1023, [nodes()["conv"]], True, backend_of("onnxruntime"))
    assert found.form is Form.EIGHT and "1,024" in found.reason


def test_always_is_always() -> None:
    assert packed_form(I4, True, backend_of("tensorrt")).form is Form.DIRECT
    assert packed_form(I4, True, backend_of("openvino")).form is Form.CAST
    assert packed_form(I8, True, backend_of("openvino")).form is Form.EIGHT


def test_weights_of_products_in_float_have_the_grid_that_the_engine_unpacks() -> None:
    found = nodes()
    assert not float_grid(found["right"], backend_of("onnxruntime")).symmetric
    assert float_grid(found["right"], backend_of("tensorrt")).symmetric
    assert float_grid(found["conv"], backend_of("onnxruntime")).symmetric
    assert float_grid(found["gemm"], backend_of("openvino")).axis == 0
