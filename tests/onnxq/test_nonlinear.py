"""The activation functions are what onnxruntime computes, and found in every form they are exported in."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.nonlinear import FUNCTIONS, function_behind
from onnxq.testing import normal, parse, run, workspace

SILU = "s = Sigmoid(a) y = Mul(a, s)"
HARD_SIGMOID = "s = HardSigmoid<alpha=0.16666667, beta=0.5>(a) y = Mul(s, a)"
HARD = "t = Add(a, three) c = Clip(t, zero, six)"
GELU = "d = Div(a, root) e = Erf(d) t = Add(e, one)"
FORMS = {
    "sigmoid": ("silu", SILU),
    "sigmoid, other way round": ("silu", "s = Sigmoid(a) y = Mul(s, a)"),
    "hard swish": ("hard_swish", "y = HardSwish(a)"),
    "hard sigmoid": ("hard_swish", HARD_SIGMOID),
    "hard swish, product then division": ("hard_swish", f"{HARD} m = Mul(a, c) y = Div(m, six)"),
    "hard swish, division then product": ("hard_swish", f"{HARD} m = Div(c, six) y = Mul(a, m)"),
    "gelu": ("gelu", "y = Gelu(a)"),
    "gelu, erf": ("gelu", f"{GELU} m = Mul(a, t) y = Mul(m, half)"),
}
NONE = {
    "another function": "y = Tanh(a)",
    "another reader": f"{SILU} z = Neg(a)",
    "a gate of its own": "b = Neg(a) s = Sigmoid(b) y = Mul(b, s)",
    "a product with something else": "s = Sigmoid(a) t = Neg(s) y = Mul(a, t)",
    "a gate with another reader": "s = Sigmoid(a) z = Neg(s) y = Mul(a, s)",
    "a hard sigmoid of another slope": "s = HardSigmoid<alpha=0.05>(a) y = Mul(s, a)",
    "a clip of another place": "t = Add(a, one) c = Clip(t, zero, six) y = Mul(a, c)",
    "no clip": "t = Add(a, three) y = Mul(a, t)",
    "its square": "y = Mul(a, a)",
    "nothing": "y = Identity(x)",
}
NUMBERS = {"three": 3, "six": 6, "zero": 0, "one": 1, "half": 0.5, "root": np.sqrt(2)}


def behind(body: str, out: str = "y") -> str | None:
    used: dict[str, Any] = {name: np.array(v, np.float32) for name, v in NUMBERS.items() if name in body}
    outputs = ", ".join(f"float[2,3] {name}" for name in out.split())
    graph = workspace(parse(f"g (float[2,3] x) => ({outputs}) {{ a = Exp(x) {body} }}", 20, **used)).graph
    return function_behind(graph, graph.tensors()["a"])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_known(form: str) -> None:
    name, body = FORMS[form]
    assert behind(body) == name


@pytest.mark.parametrize("case", NONE)
def test_what_only_looks_alike_is_not(case: str) -> None:
    assert behind(NONE[case], "y z" if "z =" in NONE[case] else "y a" if case == "nothing" else "y") is None


def test_a_tensor_that_the_model_returns_is_read_by_more_than_the_function() -> None:
    assert behind(SILU, "y a") is None


@pytest.mark.parametrize(("name", "form"), [("silu", "sigmoid"), ("hard_swish", "hard swish"), ("gelu", "gelu")])
def test_the_functions_are_those_of_onnxruntime(name: str, form: str) -> None:
    attribute = '<approximate="tanh">' if name == "gelu" else ""
    body = FORMS[form][1].replace("(a)", f"{attribute}(a)") if attribute else FORMS[form][1]
    model: onnx.ModelProto = parse(f"g (float[4,500] a) => (float[4,500] y) {{ {body} }}", 20)
    x = normal(4, 500, scale=4)
    np.testing.assert_allclose(FUNCTIONS[name](x.astype(np.float64)), run(model, a=x)["y"], rtol=1e-4, atol=1e-5)
    assert FUNCTIONS[name](np.array([0.0]))[0] == 0
    np.testing.assert_allclose(FUNCTIONS[name](np.array([-1e30, 1e30])), [0, 1e30], atol=1e-9)  # without overflow
