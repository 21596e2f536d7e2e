"""Conv, batch norm and every activation that exporters write between two convolutions: as an operator or in pieces."""

import numpy as np
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Pattern, normal, scaled

ACTIVATIONS = {
    "none": "r = Identity(n)",
    "relu": "r = Relu(n)",
    "relu6": "r = Clip(n, zero, six)",
    "silu": "s = Sigmoid(n) r = Mul(n, s)",
    "hard_swish": "r = HardSwish(n)",
    "hard_swish_in_pieces": "p = Add(n, three) q = Clip(p, zero, six) u = Mul(n, q) r = Div(u, six)",
    "hard_swish_of_a_hard_sigmoid": "h = HardSigmoid<alpha=0.16666667, beta=0.5>(n) r = Mul(n, h)",
    "leaky_relu": "r = LeakyRelu<alpha=0.1>(n)",
    "prelu": "r = PRelu(n, slope)",
    "elu": "r = Elu(n)",
    "mish": "p = Softplus(n) q = Tanh(p) r = Mul(n, q)",
    "gelu": "r = Gelu(n)",
    "gelu_of_erf": "d = Div(n, root) e = Erf(d) f = Add(e, one) h = Mul(n, f) r = Mul(h, half)",
    "gelu_of_tanh": """c = Mul(n, n) d = Mul(c, n) e = Mul(d, k) f = Add(n, e) h = Mul(f, t) i = Tanh(h)
        j = Add(i, one) l = Mul(n, half) r = Mul(l, j)""",
}
NUMBERS = {"zero": 0, "half": 0.5, "one": 1, "three": 3, "six": 6, "root": 2**0.5, "k": 0.044715, "t": 0.7978846}
WEIGHTS = {
    **{name: np.array(value, np.float32) for name, value in NUMBERS.items()},
    "w1": scaled(32, 32, 3, 3),
    "w2": scaled(32, 32, 1, 1, seed=1),
    "slope": np.abs(normal(32, 1, 1, seed=7, scale=0.2)),
    "gamma": 1 + normal(32, seed=3, scale=0.1),
    "beta": normal(32, seed=4, scale=0.3),
    "mean": normal(32, seed=5, scale=0.3),
    "variance": 1 + np.abs(normal(32, seed=6)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_conv_norm_activation(name: str, backend: str) -> None:
    body = f"""[one] a = Conv<pads=[1,1,1,1]>(x, w1) n = BatchNormalization(a, gamma, beta, mean, variance)
        {ACTIVATIONS[name]} [two] y = Conv(r, w2)"""
    feeds = {"x": normal(4, 32, 12, 12, seed=9)}
    Pattern(body, WEIGHTS, feeds, "float[N,32,H,W] x", opset=20).holds_on(backend)
