"""Multiply-accumulates, against counts by hand."""

import pytest

from onnxq.cost import macs
from onnxq.model import load_model
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.testing import normal, ops, parse


@pytest.mark.parametrize(
    ("node", "given", "weight", "count"),
    [
        ("Conv<pads=[1,1,1,1]>(x, w)", (2, 3, 8, 8), (4, 3, 3, 3), 2 * 8 * 8 * 4 * 3 * 3 * 3),
        ("Conv<group=3>(x, w)", (1, 3, 8, 8), (3, 1, 3, 3), 6 * 6 * 3 * 3 * 3),
        ("Conv<strides=[2], dilations=[2]>(x, w)", (1, 4, 9), (5, 4, 3), 3 * 5 * 4 * 3),
        ("Conv(x, w)", (1, 2, 4, 4, 4), (3, 2, 2, 2, 2), 27 * 3 * 2 * 8),
        ("ConvTranspose<strides=[2,2]>(x, w)", (1, 4, 5, 5), (4, 3, 2, 2), 4 * 25 * 3 * 4),
        ("ConvTranspose<group=2>(x, w)", (1, 4, 5, 5), (4, 3, 2, 2), 4 * 25 * 3 * 4),
        ("Gemm(x, w)", (7, 3), (3, 5), 7 * 3 * 5),
        ("Gemm<transA=1, transB=1>(x, w)", (3, 7), (5, 3), 7 * 3 * 5),
        ("MatMul(x, w)", (2, 7, 3), (3, 5), 2 * 7 * 3 * 5),
        ("MatMul(x, w)", (2, 7, 3), (2, 3, 5), 2 * 7 * 3 * 5),
        ("MatMul(x, w)", (7, 3), (3,), 7 * 3),
        ("MatMul(w, x)", (3, 7), (5, 3), 7 * 3 * 5),
    ],
)
def test_macs(node: str, given: tuple[int, ...], weight: tuple[int, ...], count: int) -> None:
    letters = ",".join("ABCDE"[: len(given)])
    model = load_model(parse(f"g (float[{letters}] x) => (float y) {{ [n] y = {node} }}", w=normal(*weight)))
    assert macs(model, {"x": given}) == {"n": count}


def test_products_of_activations_count_and_unknown_shapes_do_not() -> None:
    model = load_model(
        parse("g (float[N,4,8] q, float[N,8,6] k) => (float[N,4,6] y) { [a] p = MatMul(q, k) [r] y = Relu(p) }")
    )
    assert macs(model, {"q": (3, 4, 8), "k": (3, 8, 6)}) == {"a": 3 * 4 * 6 * 8}
    assert macs(model, {}) == {}


def test_an_operator_of_onnxruntime_s_own_hides_nothing() -> None:
    """SiLU is one in graphs for onnxruntime, and ONNX infers no shape behind it."""
    text = (
        "g (float[A,4,8,8] x) => (float y) { [one] a = Conv(x, w) s = Sigmoid(a) b = Mul(a, s) [two] y = Conv(b, w) }"
    )
    samples, options = {"x": normal(4, 4, 8, 8)}, Options(build=False)
    model = quantize(parse(text, w=normal(4, 4, 1, 1)), samples, backend="onnxruntime", options=options).quantized
    assert "QuickGelu" in ops(model)
    assert macs(model, {"x": (1, 4, 8, 8)}) == {"one": 64 * 16, "two": 64 * 16}
