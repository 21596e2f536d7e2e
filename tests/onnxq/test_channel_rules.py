"""Operator by operator: which channels between two layers may be multiplied, and that the function stays."""

from typing import Any

import numpy as np
import pytest

from onnxq.channel_flow import Region
from onnxq.testing import normal, ops, parse, run, workspace
from onnxq.workspace import Workspace
from spreading import spread

X = normal(3, 3, 6, 6)
C = normal(4, 1, 1, seed=8)
WEIGHTS: dict[str, Any] = {
    "v": normal(4, 3, 1, 1),
    "u": normal(4),
    "w": normal(2, 4, 1, 1, seed=1),
    "w1": normal(2, 1, 1, 1, seed=2),
    "c": C,
    "c1": normal(1),
    "c0": np.zeros((1, 4, 1, 1), np.float32),
    "p": np.abs(C),
    "row": normal(6),
    "v3": normal(3, 3, 1, 1, seed=3),
    "one": normal(1, 3, 1, 1, seed=4),
    "z8": np.zeros((1, 4, 1, 1), np.float32),
    "five": np.zeros((1, 1, 1, 1, 1), np.float32),
    "d": normal(4, 1, 3, 3, seed=5),
    "w8": normal(2, 4, 1, 1, seed=6),
    "wg": normal(4, 2, 1, 1, seed=7),
    "wt": normal(4, 3, 2, 2, seed=9),
    "wtg": normal(4, 3, 2, 2, seed=10),
    "deep": normal(4, 4, 1, 1, seed=11),
    "inf": np.array([[[[np.inf]], [[1]], [[1]], [[1]]]] * 2, np.float32),
}


def chain(between: str, last: str = "y = Conv(b, w)", opset: int = 17, **weights: Any) -> Workspace:
    """A Conv of 4 channels, ``between``, and ``last``; perhaps with another output z."""
    body = f"[one] a = Conv(x, v, u) {between} [two] {last}"
    outputs = "float[N,P,Q,R] y" + (", float[A,B,E,F] z" if " z = " in f" {body}" else "")
    return workspace(parse(f"g (float[N,3,6,6] x) => ({outputs}) {{ {body} }}", opset, **used(body, weights)), {"x": X})


def used(body: str, weights: dict[str, Any]) -> dict[str, Any]:
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return {name: array for name, array in {**WEIGHTS, **weights}.items() if name in words}


def kept(space: Workspace) -> list[Region]:
    """The regions, after random factors in all of them that left the function as it was."""
    before = run(space, x=X)
    found = spread(space)
    for name, array in run(space, x=X).items():
        np.testing.assert_allclose(array, before[name], rtol=2e-4, atol=2e-4)
    return found


PASS = {
    "relu": "b = Relu(a)",
    "leaky relu": "b = LeakyRelu<alpha=0.3>(a)",
    "identity": "b = Identity(a)",
    "negation": "b = Neg(a)",
    "magnitude": "b = Abs(a)",
    "dropout": "b = Dropout(a)",
    "prelu with a slope per channel": "b = PRelu(a, c)",
    "prelu with one slope": "b = PRelu(a, c1)",
    "max pool": "b = MaxPool<kernel_shape=[2,2], pads=[1,1,0,0]>(a)",
    "max pool whose places are read": "b, i = MaxPool<kernel_shape=[2,2]>(a) j = Cast<to=1>(i) z = Neg(j)",
    "average pool": "b = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(a)",
    "global pools": "e = GlobalAveragePool(a) f = GlobalMaxPool(e) b = Relu(f)",
    "its shape is read": "s = Shape(a) t = Cast<to=1>(s) n = Size(a) b = Relu(a) z = Neg(t)",
    "plus a vector": "b = Add(a, c)",
    "a vector plus": "b = Add(c, a)",
    "plus a number": "b = Add(a, c1)",
    "minus a vector": "b = Sub(a, c)",
    "a number minus": "b = Sub(c1, a)",
    "plus a row of pixels": "b = Add(a, row)",
    "a sum of constants": "b = Sum(c1, a, c)",
    "above zero": "b = Max(a, c0)",
    "below zero": "b = Min(c0, a)",
    "twice itself": "b = Add(a, a)",
    "times a vector": "b = Mul(a, c)",
    "a vector times": "b = Mul(c, a)",
    "by a number": "b = Div(a, c1)",
    "gated": "g = Sigmoid(x) h = Slice(g, start, start1, axes) b = Mul(a, h)",
    "divided by a gate": "g = Sigmoid(x) h = Slice(g, start, start1, axes) b = Div(a, h)",
}
PLACES: dict[str, Any] = {"start": np.array([0]), "start1": np.array([1]), "axes": np.array([1])}


@pytest.mark.parametrize("name", PASS)
@pytest.mark.parametrize("opset", [13, 17, 21])
def test_every_channel_may_be_multiplied(name: str, opset: int) -> None:
    space = chain(PASS[name], opset=opset, **PLACES)
    before = ops(space)
    (region,) = kept(space)
    assert region.count == 4
    assert not region.fixed.any()
    assert [end.node.name for end in (*region.makers, *region.takers)] == ["one", "two"]
    assert ops(space) == before


FIXED = {
    "sigmoid": ("b = Sigmoid(a)", ""),
    "softmax": ("b = Softmax<axis=1>(a)", ""),
    "above a number": ("b = Max(a, c1)", ""),
    "between bounds": ("b = Clip(a, low, high)", ""),
    "one over": ("b = Div(c, a)", ""),
    "squared": ("b = Mul(a, a)", "what multiplies other channels cannot"),
    "squared under another name": ("e = Identity(a) b = Mul(a, e)", "what multiplies other channels cannot"),
    "gated by itself": ("g = Sigmoid(a) b = Mul(a, g)", "Sigmoid does not commute"),
    "plus what is computed": ("g = Sigmoid(x) h = Slice(g, start, start1, axes) b = Add(a, h)", ""),
    "above what is computed": ("g = Sigmoid(x) h = Slice(g, start, start1, axes) b = Max(a, h)", ""),
    "another reader": ("b = Relu(a) z = Exp(b)", "Exp does not commute"),
    "an output": ("z = Relu(a) b = Identity(z)", "'z' is an output of the model"),
    "a slope": ("s = ReduceMean<axes=[0,2,3]>(a) b = PRelu(a, s)", ""),
}


@pytest.mark.parametrize("name", FIXED)
def test_no_channel_may_be_multiplied(name: str) -> None:
    between, reason = FIXED[name]
    found = kept(chain(between, **PLACES, low=np.array(0, np.float32), high=np.array(6, np.float32)))
    assert not [region for region in found if region.free]
    if reason:
        (region,) = found
        assert any(reason in told for told in region.reasons)


def test_what_multiplies_channels_is_fixed_what_is_multiplied_is_not() -> None:
    space = chain("g = Conv(x, v4) b = Mul(a, g)", v4=normal(4, 3, 1, 1, seed=20))
    (region,) = kept(space)
    assert region.free
    assert [end.node.name for end in region.makers] == ["one"]


def test_squeeze_and_excite() -> None:
    gate = "m = GlobalAveragePool(r) s = Conv(m, deep) t = Relu(s) n = Conv(t, deep2) g = Sigmoid(n)"
    space = chain(f"r = Relu(a) {gate} b = Mul(g, r)", deep2=normal(4, 4, 1, 1, seed=21))
    stream, inside = kept(space)
    assert (len(stream.takers), stream.free) == (2, True)  # the last layer, and the first of the gate
    assert (len(inside.takers), inside.free) == (1, True)


def test_a_sum_of_layers_is_one_region() -> None:
    space = chain("r = Relu(a) [mid] m = Conv(r, deep) s = Add(r, m) b = Relu(s)")
    (region,) = kept(space)
    assert region.joined
    assert [end.node.name for end in region.makers] == ["one", "mid"]
    assert [end.node.name for end in region.takers] == ["mid", "two"]
    assert not region.fixed.any()


def test_maximum_of_layers() -> None:
    (region,) = kept(chain("e = Conv(x, v) f = Max(a, e) b = Min(f, a)"))
    assert region.fixed.all()  # the layers share their weight
    (region,) = kept(chain("e = Conv(x, v4) f = Max(a, e) b = Min(f, a)", v4=normal(4, 3, 1, 1, seed=20)))
    assert region.joined
    assert region.free


def test_a_sum_that_spreads_one_channel_over_others() -> None:
    for between in ("e = Conv(x, one) b = Add(a, e)", "e = Conv(x, one) b = Add(e, a)"):
        assert not [region for region in kept(chain(between)) if region.free]
    for between in ("[n] e = Conv(x, one) b = Add(e, z8)", "[n] e = Conv(x, one) b = Mul(e, c)"):
        found = kept(chain(between + " [last] q = Relu(b)", "y = Conv(q, w)"))
        assert not [region for region in found if region.free]


def test_a_gate_that_spreads_one_channel_over_others() -> None:
    body = "[one] e = Conv(x, one) g = Sigmoid(x) b = Mul(e, g) y = Conv(b, v3)"
    space = workspace(parse(f"g (float[N,3,6,6] x) => (float[N,P,Q,R] y) {{ {body} }}", **used(body, {})), {"x": X})
    assert not [region for region in kept(space) if region.free]


def test_a_constant_of_more_axes_moves_the_axis_of_the_channels() -> None:
    """Channels of [N, 4, L] are on axis 2 of the sum with [1, 1, 1, 1], where a Conv takes axis 1 for channels."""
    body = "[one] a = Conv(x, v) e = Add(a, five) y = Conv(e, w)"
    weights: dict[str, Any] = {
        "v": normal(4, 3, 1),
        "w": normal(2, 3, 1, 1),
        "five": np.zeros((1, 1, 1, 1), np.float32),
    }
    space = workspace(parse(f"g (float[3,3,6] x) => (float[A,B,C,D] y) {{ {body} }}", **weights), {"x": X[:, :, 0]})
    before = run(space, x=X[:, :, 0])["y"]
    assert not [region for region in spread(space) if region.free]
    np.testing.assert_array_equal(run(space, x=X[:, :, 0])["y"], before)


@pytest.mark.parametrize(
    ("layers", "counts"),
    [
        ("[one] a = Conv(x, v, u) b = Relu(a) [two] y = Conv<group=2>(b, wg)", [4]),
        ("[one] a = Conv(x, v, u) [two] b = Conv<group=4>(a, d) e = Relu(b) [three] y = Conv(e, w)", [4, 4]),
        ("[one] a = Conv(x, v, u) [two] b = ConvTranspose(a, wt) [three] y = Conv(b, v3)", [4, 3]),
        ("[one] a = Conv(x, v, u) [two] b = ConvTranspose<group=2>(a, wtg) [three] y = Conv(b, w6)", [4, 6]),
        ("[one] a = Conv<group=3>(x, one3) [two] b = Relu(a) [three] y = Conv(b, v3)", [3]),
    ],
    ids=["groups", "depthwise", "transposed", "transposed groups", "depthwise first"],
)
def test_layers_with_groups_and_transposed(layers: str, counts: list[int]) -> None:
    more: dict[str, Any] = {"w6": normal(2, 6, 1, 1), "one3": normal(3, 1, 3, 3)}
    text = f"g (float[N,3,6,6] x) => (float[N,P,Q,R] y) {{ {layers} }}"
    found = kept(workspace(parse(text, **used(layers, more)), {"x": X}))
    assert [region.count for region in found] == counts
    assert all(region.free for region in found)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("[one] a = Gemm(f, m, q)", "[two] y = Gemm<transB=1, alpha=0.5>(b, n)"),
        ("[one] a = Gemm<transB=1, beta=2.0>(f, mt, q)", "[two] y = MatMul(b, nt)"),
        ("[one] a = MatMul(f, m)", "e = Add(q, b) [two] y = MatMul(e, nt)"),
        ("[one] a = MatMul(f, m)", "[two] y = Gemm(b, nt, q3)"),
        ("[one] a = Gemm(f, m, q0)", "[two] y = Gemm(b, nt)"),
        ("[one] a = Gemm(f, m, q25)", "[two] y = Gemm(b, nt)"),
    ],
)
def test_matrices(first: str, second: str) -> None:
    body = f"{first} b = Relu(a) {second}"
    weights: dict[str, Any] = {"m": normal(108, 5, scale=0.1), "n": normal(3, 5), "q": normal(5), "q3": normal(3)}
    weights |= {"mt": weights["m"].T.copy(), "nt": weights["n"].T.copy(), "q0": normal(1), "q25": normal(3, 5)}
    text = f"g (float[3,3,6,6] x) => (float[3,3] y) {{ f = Flatten(x) {body} }}"
    (region,) = kept(workspace(parse(text, **used(body, weights)), {"x": X}))
    assert (region.count, region.free) == (5, True)


def test_matrices_of_many_axes() -> None:
    body = "[one] a = MatMul(x, m) e = Add(a, q) b = Relu(e) [two] y = MatMul(b, n)"
    text = f"g (float[N,3,6,6] x) => (float[N,3,6,2] y) {{ {body} }}"
    space = workspace(parse(text, m=normal(6, 5), q=normal(5), n=normal(5, 2)), {"x": X})
    (region,) = kept(space)
    assert (region.count, region.free, len(region.shifts)) == (5, True, 1)
    assert ops(space) == ["MatMul", "Add", "Relu", "MatMul"]


LEFT: dict[str, Any] = {
    "several matrices": ("y = MatMul(b, many)", {"many": normal(1, 4, 6, 6)}),
    "a matrix on the left": ("y = MatMul(left, b)", {"left": normal(6, 6)}),
    "two activations": ("y = MatMul(b, b)", {}),
    "a transposed Gemm": ("f = Flatten<axis=3>(b) y = Gemm<transA=1>(f, long)", {"long": normal(72, 2)}),
    "a sum along the pixels": ("y = MatMul(b, square)", {"square": normal(6, 6)}),
    "a weight that is computed": ("k = Neg(w) y = Conv(b, k)", {}),
    "a bias that the channels make": ("k = ReduceMean<axes=[0,2,3], keepdims=0>(b) y = Conv(b, deep, k)", {}),
}


@pytest.mark.parametrize("name", LEFT)
def test_layers_that_take_no_factor(name: str) -> None:
    last, weights = LEFT[name]
    rank = 2 if "Gemm" in last else 4
    body = f"[one] a = Conv(x, v, u) b = Relu(a) {last}"
    text = f"g (float[3,3,6,6] x) => (float[{','.join('ABCD'[:rank])}] y) {{ {body} }}"
    space = workspace(parse(text, **used(body, weights)), {"x": X})
    assert not [region for region in kept(space) if region.free]


@pytest.mark.parametrize(
    ("last", "weights", "reason"),
    [
        ("y = Conv(b, w) z = Conv(e, w)", {}, "a weight is shared by several layers"),
        ("y = Conv(b, inf)", {}, "a weight is infinite or NaN"),
    ],
)
def test_layers_that_must_stay_as_they_are(last: str, weights: dict[str, Any], reason: str) -> None:
    space = chain("b = Relu(a) e = Relu(b)", last, **weights)
    (region,) = spread(space)
    assert region.fixed.all()
    assert reason in region.reasons


def test_a_bias_that_is_computed_fixes_what_the_layer_makes() -> None:
    body = "k = ReduceMean<axes=[0,2,3], keepdims=0>(x) [one] a = Conv(x, v3, k) b = Relu(a) [two] y = Conv(b, v)"
    space = workspace(parse(f"g (float[N,3,6,6] x) => (float[N,P,Q,R] y) {{ {body} }}", **used(body, {})), {"x": X})
    (region,) = kept(space)
    assert region.fixed.all()
    assert region.reasons == ("a bias is computed at run time",)


@pytest.mark.parametrize(("word", "kind"), [("float16", np.float16), ("double", np.float64)])
def test_only_float32_is_multiplied(word: str, kind: Any) -> None:
    weights: dict[str, Any] = {"v": normal(4, 3, 1, 1).astype(kind), "w": normal(2, 4, 1, 1).astype(kind)}
    body = "a = Conv(x, v) b = Relu(a) y = Conv(b, w)"
    space = workspace(parse(f"g ({word}[N,3,6,6] x) => ({word}[N,P,Q,R] y) {{ {body} }}", **weights))
    assert not [region for region in spread(space) if region.free]


def test_whole_numbers_are_no_channels() -> None:
    """Sizes that are multiplied by constants, on their way to a Resize."""
    body = 's = Shape(x) t = Mul(s, twice) r = Resize<mode="nearest">(x, , , t) [one] a = Conv(r, v) y = Conv(a, w)'
    weights = used(body, {"twice": np.array([1, 1, 2, 2])})
    space = workspace(parse(f"g (float[N,3,6,6] x) => (float[N,P,Q,R] y) {{ {body} }}", **weights), {"x": X})
    (region,) = kept(space)
    assert (region.count, region.free) == (4, True)


NORMS = {
    "LayerNormalization": "n = LayerNormalization(t, g, q)",
    "LayerNormalization without bias": "n = LayerNormalization<axis=2>(t, g)",
    "spelled out": "h = LayerNormalization(t, ones) n = Mul(h, g)",
    "InstanceNormalization": "o = Transpose<perm=[0,2,1]>(t) h = InstanceNormalization(o, g, q) "
    "n = Transpose<perm=[0,2,1]>(h)",
    "BatchNormalization": "o = Transpose<perm=[0,2,1]>(t) h = BatchNormalization(o, g, q, q, p4) "
    "n = Transpose<perm=[0,2,1]>(h)",
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_make_channels(name: str) -> None:
    weights: dict[str, Any] = {
        "g": normal(4),
        "q": normal(4, seed=1),
        "ones": np.ones(4, np.float32),
        "m": normal(4, 4),
        "n2": normal(4, 2),
    }
    weights |= {"p4": np.abs(normal(4)) + 1, "v": normal(4, 3, 1, 1), "shape": np.array([0, 4, 36])}
    body = f"[one] a = Conv(x, v) b = Reshape(a, shape) t = Transpose<perm=[0,2,1]>(b) {NORMS[name]} "
    body += (
        "[q1] k = MatMul(n, m) [q2] l = MatMul(n, n2) e = Softmax(k) f = ReduceSum<keepdims=0>(e, last) "
        "y = Concat<axis=1>(f, f) z = Neg(l)"
    )
    text = f"g (float[N,3,6,6] x) => (float[N,72] y, float[N,36,2] z) {{ {body} }}"
    space = workspace(parse(text, **used(body, {**weights, "last": np.array([-1])})), {"x": X})
    free = [region for region in kept(space) if region.free]
    assert any([end.node.name for end in region.takers] == ["q1", "q2"] for region in free)
    assert not any(end.node.name == "one" for region in free for end in region.makers)


def test_a_layer_of_another_domain_is_not_known() -> None:
    space = chain("b = Relu(a)")
    next(node for node in space.graph.nodes if node.op == "Relu").domain = "com.example"
    assert not [region for region in spread(space) if region.free]
