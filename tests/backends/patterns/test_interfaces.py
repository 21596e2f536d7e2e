"""What goes in and out: free sizes, several inputs, integers, outputs in the middle; If and Loop; functions."""

from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Pattern, normal, outcome, scaled

WEIGHTS = {
    "w": scaled(32, 32, 3, 3),
    "v": scaled(32, 32, 3, 3, seed=2),
    "u": scaled(32, 32, 1, 1, seed=1),
    "rgb": scaled(32, 3, 3, 3),
    "half": scaled(32, 16, 1, 1),
    "mixed": scaled(10, 36).T.copy(),
    "i0": np.array([0]),
    "i2": np.array([2]),
    "i4": np.array([4]),
    "full": np.array(255, np.float32),
    "one": np.array(1, np.float32),
    "thrice": np.array(3),
    "yes": np.array(True),
}
X = normal(4, 32, 12, 12, seed=9)
IMAGE = Pattern("", WEIGHTS, {"x": X}, "float[N,32,12,12] x")
ONE = "[one] a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a)"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
PATTERNS = {
    "free_height_and_width": replace(
        IMAGE,
        body=f"""{ONE} s = Shape(b) hw = Slice(s, i2, i4) [two] c = Conv<strides=[2,2], pads=[1,1,1,1]>(b, v)
        nc = Slice(s, i0, i2) to = Concat<axis=0>(nc, hw) d = Resize<mode="nearest">(c, , , to) e = Add(d, b)
        [three] y = Conv(e, u)""",
        inputs="float[N,32,H,W] x",
    ),
    "several_inputs": replace(
        IMAGE,
        body="""[one] a = Conv(x, w) [two] b = Conv(z, v) c = Add(a, b) d = Relu(c) e = GlobalAveragePool(d)
        f = Flatten(e) j = Concat<axis=1>(f, meta) [fc] y = Gemm(j, mixed)""",
        inputs="float[N,32,12,12] x, float[N,32,12,12] z, float[N,4] meta",
        outputs="float[N,M] y",
        feeds={"x": X, "z": 2 * X, "meta": normal(4, 4)},
    ),
    "pixels": replace(
        IMAGE,
        body="""c = Cast<to=1>(x) d = Div(c, full) e = Transpose<perm=[0,3,1,2]>(d) [one] a = Conv(e, rgb) b = Relu(a)
        [two] y = Conv(b, u)""",
        inputs="uint8[N,12,12,3] x",
        feeds={"x": PIXELS},
    ),
    "outputs_in_the_middle": replace(
        IMAGE,
        body=f"{ONE} [two] c = Conv(b, v) d = Relu(c) [three] y = Conv(d, u)",
        outputs="float[N,C,A,B] b, float[N,C,A,B] c, float[N,C,A,B] y",
    ),
    "an_output_of_a_split": replace(
        IMAGE,
        body=f"{ONE} p, q = Split<axis=1>(b) [two] y = Conv(p, half)",
        outputs="float[N,C,A,B] q, float[N,D,A,B] y",
    ),
    "a_scalar_computed_in_between": replace(
        IMAGE, body=f"{ONE} m = ReduceMax<keepdims=0>(b) d = Div(b, m) [two] y = Conv(d, u)"
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_interfaces(name: str, backend: str) -> None:
    PATTERNS[name].holds_on(backend)


CHOICE = f"""{ONE} m = ReduceMax<keepdims=0>(b) k = Greater(m, one) [choose] y = If(k) <
    then_branch = t () => (float[N,C,A,B] c) {{ [inner] c = Conv(b, u) }},
    else_branch = e () => (float[N,C,A,B] d) {{ d = Neg(b) }}>"""
REPEAT = f"""{ONE} [repeat] y = Loop(thrice, yes, b) <
    body = r (int64 i, bool go, float[N,C,A,B] s) => (bool on, float[N,C,A,B] t)
    {{ on = Identity(go) [inner] p = Conv(s, u) t = Relu(p) }}>"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("node", "body"), [("choose", CHOICE), ("repeat", REPEAT)])
def test_bodies_of_if_and_loop_compute_in_float_and_it_is_said_so(node: str, body: str, backend: str) -> None:
    inside = {name: {"inner": f"{node!r}, whose body computes in float"} for name in BACKENDS}
    found = replace(IMAGE, body=body, floats=inside).holds_on(backend)
    said = {entry.subject: entry.reason for entry in found.result.ledger.of("float")}
    assert "computes in float" in said["inner"] and "in its body" in said[node]


@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_are_inlined_first(backend: str) -> None:
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17, "mine": 1]>
        g (float[N,32,12,12] x) => (float[N,C,A,B] y) { a = mine.Block(x, w) y = mine.Block(a, v) }
        <domain: "mine", opset_import: ["": 17]>
        Block (i, k) => (o) { c = Conv<pads = [1,1,1,1]>(i, k) o = Relu(c) }""")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(WEIGHTS[name], name) for name in ("w", "v"))
    found = outcome(model, {"x": X}, backend)
    assert len(found.layers) == 2 and not found.in_float and found.sqnr_db["y"] > 28
