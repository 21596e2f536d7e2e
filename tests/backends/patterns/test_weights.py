"""Where weights come from and how they lie: shared, folded, transposed, on the left; in one and three dimensions."""

from dataclasses import replace

import numpy as np
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Pattern, normal, scaled

WEIGHTS = {
    "w": scaled(32, 32, 3, 3),
    "u": scaled(32, 32, 1, 1, seed=1),
    "t": scaled(32, 32, 1, 1, seed=2),
    "dead": scaled(32, 32, 3, 3) * (np.arange(32) > 3).astype(np.float32)[:, np.newaxis, np.newaxis, np.newaxis],
    "flat": scaled(32, 32),
    "half": scaled(32, 32).astype(np.float16),
    "image": np.array([32, 32, 1, 1]),
    "hw": np.array([2, 3]),
    "two": np.array(2, np.float32),
    "quarters": scaled(32, 8, 3, 3),
    "halves": scaled(32, 16, 1, 1),
    "bias": normal(1, 32, 1, 1),
    "mean": normal(1, 32, 1, 1),
    "deviation": 2 + np.abs(normal(1, 32, 1, 1)),
    "up": scaled(128, 64).T.copy(),
    "down": scaled(64, 128).T.copy(),
    "up_t": scaled(128, 64),
    "ub": normal(128, scale=0.1),
    "db": normal(64, scale=0.1),
    "batch": scaled(128, 64).T.copy().reshape(1, 64, 128),
    "left": scaled(64, 16),
    "vector": normal(128),
    "column": scaled(1, 128).T.copy(),
    "rows": np.array([-1, 64]),
    "line": scaled(32, 32, 3),
    "line1": scaled(32, 32, 1, seed=1),
    "deep_line": scaled(32, 1, 5),
    "cube": scaled(32, 8, 3, 3, 3),
    "cube1": scaled(32, 32, 1, 1, 1),
    "classes": scaled(10, 32).T.copy(),
}
IMAGE = Pattern("", WEIGHTS, {"x": normal(4, 32, 12, 12, seed=9)}, "float[N,32,12,12] x")
TOKENS = Pattern("", WEIGHTS, {"x": normal(4, 16, 64, seed=9)}, "float[N,16,64] x", "float[N,S,D] y")
FLAT = replace(TOKENS, outputs="float[N,D] y")
LEFT = "[f1] a = MatMul(x, up) b = Tanh(a) [f2] y = MatMul(left, b)"

PATTERNS = {
    "shared": replace(IMAGE, body="[one] a = Conv(x, u) b = Relu(a) [two] y = Conv(b, u)"),
    "behind_a_transpose": replace(
        IMAGE,
        body="""k = Transpose<perm=[1,0,2,3]>(u) [one] a = Conv(x, k) b = Relu(a) l = Identity(flat)
        m = Reshape(l, image) [two] y = Conv(b, m)""",
    ),
    "behind_a_cast": replace(
        IMAGE,
        body="""k = Cast<to=1>(half) l = Unsqueeze(k, hw) [one] a = Conv(x, l) b = Relu(a) m = Mul(t, two)
        [two] y = Conv(b, m)""",
    ),
    "dead_channels": replace(IMAGE, body="[one] a = Conv(x, dead) b = Relu(a) [two] y = Conv(b, u)"),
    "groups": replace(
        IMAGE,
        body="[one] a = Conv<group=4, pads=[1,1,1,1]>(x, quarters) b = Relu(a) [two] y = Conv<group=2>(b, halves)",
    ),
    "automatic_padding": replace(
        IMAGE, body='[one] a = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w) b = Relu(a) [two] y = Conv(b, u)'
    ),
    "bias_of_its_own": replace(IMAGE, body="[one] a = Conv(x, w) b = Add(a, bias) c = Relu(b) [two] y = Conv(c, u)"),
    "normalised_input": replace(
        IMAGE, body="m = Sub(x, mean) n = Div(m, deviation) [one] a = Conv(n, w) b = Relu(a) [two] y = Conv(b, u)"
    ),
    "one_dimension": replace(
        IMAGE,
        body="""[one] a = Conv<pads=[1,1]>(x, line) b = Relu(a)
        [dw] c = Conv<group=32, pads=[4,4], dilations=[2]>(b, deep_line) d = Sigmoid(c) e = Mul(c, d)
        [two] y = Conv(e, line1)""",
        inputs="float[N,32,L] x",
        outputs="float[N,C,M] y",
        feeds={"x": normal(4, 32, 40, seed=9)},
    ),
    "one_dimension_with_stride": replace(
        IMAGE,
        body="[one] a = Conv<pads=[1,1]>(x, line) b = Relu(a) [two] y = Conv<strides=[2]>(b, line1)",
        inputs="float[N,32,L] x",
        outputs="float[N,C,M] y",
        feeds={"x": normal(4, 32, 40, seed=9)},
        floats={"openvino": {"two": "f32"}},  # it has no integer kernel for a stride of one point wide
    ),
    "three_dimensions": replace(
        IMAGE,
        body="""[one] a = Conv<pads=[1,1,1,1,1,1]>(x, cube) b = Relu(a) [two] c = Conv(b, cube1) d = Relu(c)
        e = GlobalAveragePool(d) f = Flatten(e) [fc] y = Gemm(f, classes)""",
        inputs="float[N,8,D,H,W] x",
        outputs="float[N,M] y",
        feeds={"x": normal(4, 8, 6, 6, 6, seed=9)},
    ),
    "factors_of_a_gemm": replace(
        FLAT,
        body="""r = Reshape(x, rows) [f1] a = Gemm<alpha=0.5, beta=2.0>(r, up, ub) b = Relu(a)
        [f2] y = Gemm<beta=0.25>(b, down, db)""",
    ),
    "transposed_gemm": replace(
        FLAT,
        body="""r = Reshape(x, rows) s = Transpose(r) [f1] a = Gemm<transA=1, transB=1>(s, up_t, ub) b = Relu(a)
        [f2] y = Gemm(b, down)""",
    ),
    "batch_of_one_matrix": replace(TOKENS, body="[f1] a = MatMul(x, batch) b = Relu(a) [f2] y = MatMul(b, down)"),
    "weight_on_the_left": replace(TOKENS, body=LEFT, floats={"onnxruntime": {"f2": "first operand"}}),
    "vector": replace(
        FLAT,
        body="[f1] a = MatMul(x, up) b = Relu(a) [f2] y = MatMul(b, vector)",
        floats={backend: {"f2": "a vector"} for backend in BACKENDS},
    ),
    "column": replace(TOKENS, body="[f1] a = MatMul(x, up) b = Relu(a) [f2] y = MatMul(b, column)"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_weights_of_every_kind(name: str, backend: str) -> None:
    PATTERNS[name].holds_on(backend)
