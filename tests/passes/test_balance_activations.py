"""Layers read channels of like ranges, the function is kept, and integers lose less."""

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxq import Options, Recipe, quantize
from onnxq.backends import BACKENDS, backend_of
from onnxq.errors import RecipeError
from onnxq.normal import Normal
from onnxq.passes import BalanceActivations, EqualizeChannels
from onnxq.proof import Proof, rewrite
from onnxq.recipe import RECIPES
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, ops, parse, reads, run, workspace
from onnxq.workspace import TOLERANCE, Workspace

LOUDNESS = np.array([1, 0.03, 8, 0.2], np.float32)
STEP = BalanceActivations()
ALIKE = 12  # times the quietest channel: the weights that read them differ too
SILU = "[sig] s = Sigmoid(a) [act] b = Mul(a, s)"
DEPTHWISE = {
    "2-d": ((4, 1, 3, 3), "[dw] y = Conv<group=4, pads=[1,1,1,1]>(b, w)"),
    "2-d, bias": ((4, 1, 3, 3), "[dw] y = Conv<group=4, strides=[2,2]>(b, w, c)"),
    "2-d, multiplied": ((12, 1, 3, 3), "[dw] y = Conv<group=4>(b, w, c)"),
    "2-d, bias computed": ((4, 1, 3, 3), "[exp] e = Exp(c) [dw] y = Conv<group=4>(b, w, e)"),
    "1-d": ((4, 1, 3), "[dw] y = Conv<group=4>(b, w)"),
    "3-d, multiplied": ((8, 1, 2, 1, 2), "[dw] y = Conv<group=4, dilations=[1,2,1]>(b, w)"),
}


def loud(*shape: int, axis: int = 0, loudness: NDArray[np.float32] = LOUDNESS) -> NDArray[np.float32]:
    """Random weights whose channels along ``axis`` are as loud as ``loudness``."""
    along = [1] * len(shape)
    along[axis] = -1
    return normal(*shape, seed=2) * loudness.reshape(along)


def compensating(*shape: int) -> NDArray[np.float32]:
    """Random weights [out, 1, ...] of a depthwise convolution that make up for the loudness: quiet ones matter too."""
    return normal(*shape) / np.repeat(LOUDNESS, shape[0] // 4).reshape(-1, *[1] * (len(shape) - 1))


def net(
    body: str, rank: int = 4, opset: int = 17, out: str = "y", batch: str = "N", channels: int = 4, **weights: Any
) -> onnx.ModelProto:
    sizes = ",".join(["6"] * (rank - 2))
    outputs = ", ".join(f"float[{','.join(name + str(axis) for axis in range(rank))}] {name}" for name in out.split())
    return parse(f"g (float[{batch},{channels},{sizes}] x) => ({outputs}) {{ h = Neg(x) {body} }}", opset, **weights)


def layers(rank: int = 4, act: str = SILU, last: str = DEPTHWISE["2-d"][1], **options: Any) -> onnx.ModelProto:
    """A pointwise convolution of unlike channels, ``act``, and a depthwise convolution."""
    weights = {"v": loud(4, 4, *[1] * (rank - 2)), "w": compensating(4, 1, *[3] * (rank - 2)), "c": normal(4)}
    return net(f"[pw] a = Conv(h, v) {act} {last}", rank, **{**weights, **options})


def check(space: Workspace, step: BalanceActivations = STEP, node: str = "dw") -> None:
    """The pass proves itself, a second run changes nothing, outputs keep their names, ``node`` reads like ranges."""
    outputs = [value.name for value in space.model().graph.output]
    assert spread(space, node) > ALIKE
    assert rewrite(space, step, Proof(space.source, space.samples))
    assert changes_nothing(space, step)
    assert [value.name for value in space.model().graph.output] == outputs
    assert spread(space, node) < ALIKE


def reach(space: Workspace, node: str = "dw") -> NDArray[np.float64]:
    """The largest magnitude of each channel that the node reads."""
    tensor = next(entry for entry in space.graph.nodes if entry.name == node).inputs[0].name
    model = space.model()
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    batches = [run(model, **batch.feeds)[tensor] for batch in space.samples.batches(4)]
    array = np.abs(np.concatenate(batches)).astype(np.float64)
    return np.asarray(array.max(axis=tuple(axis for axis in range(array.ndim) if axis != 1)))


def spread(space: Workspace, node: str = "dw") -> float:
    """How much farther the loudest channel reaches than the quietest that is not dead."""
    found = reach(space, node)
    return float(found.max() / found[found > found.max() * 2.0**-12].min())


@pytest.mark.parametrize("name", DEPTHWISE)
def test_behind_silu_a_mul_stays(name: str) -> None:
    shape, last = DEPTHWISE[name]
    space = workspace(layers(len(shape), last=last, w=compensating(*shape), c=normal(shape[0])))
    before = ops(space)
    check(space)
    assert len(ops(space)) == len(before) + 1


@pytest.mark.parametrize("name", DEPTHWISE)
@pytest.mark.parametrize("act", ["b = Relu(a)", "b = LeakyRelu<alpha=0.1>(a)", "b = PRelu(a, slope)", ""])
def test_the_layer_before_takes_the_factor(name: str, act: str) -> None:
    shape, last = DEPTHWISE[name]
    slope = normal(4, *[1] * (len(shape) - 2))
    last = last if act else last.replace("(b,", "(a,")
    space = workspace(layers(len(shape), act, last, w=compensating(*shape), c=normal(shape[0]), slope=slope))
    before = sorted(ops(space))
    check(space)
    assert sorted(ops(space)) == before


@pytest.mark.parametrize(
    ("body", "v"),
    [
        ("[pw] a = Conv<group=2>(h, v)", loud(4, 2, 1, 1)),
        ("[pw] a = Conv<group=4>(h, v, d)", loud(4, 1, 1, 1)),
        ("[pw] a = ConvTranspose(h, v, d)", loud(4, 4, 1, 1, axis=1)),
        ("[pw] a = ConvTranspose<group=2>(h, v)", loud(4, 2, 1, 1)),
    ],
)
def test_any_convolution_before_takes_the_factor(body: str, v: NDArray[np.float32]) -> None:
    space = workspace(
        net(f"{body} b = Relu(a) [dw] y = Conv<group=4>(b, w)", v=v, w=compensating(4, 1, 3, 3), d=LOUDNESS)
    )
    before = ops(space)
    check(space)
    assert ops(space) == before


STAYS = {
    "its input is an output": ("[pw] a = Conv(h, v) b = Relu(a)", "y b"),
    "what the layer makes is an output": ("[pw] a = Conv(h, v) b = Relu(a)", "y a"),
    "its input has another reader": ("[pw] a = Conv(h, v) b = Relu(a) z = Exp(b)", "y z"),
    "what the layer makes has another reader": ("[pw] a = Conv(h, v) b = Relu(a) z = Neg(a)", "y z"),
    "the layer's weight is computed": ("k = Neg(v) [pw] a = Conv(h, k) b = Relu(a)", "y"),
    "no layer makes it": ("m = Mul(h, l) b = Selu(m)", "y"),
    "a body reads it": (
        """[pw] a = Conv(h, v) b = Relu(a) [t] f = Cast<to=9>(n)
        z = If(f) <then_branch = p () => (float u) { u = Neg(b) }, else_branch = q () => (float o) { o = Exp(b) }>""",
        "y z",
    ),
}


@pytest.mark.parametrize("name", STAYS)
def test_where_no_layer_can_take_the_factor_a_mul_stays_and_others_read_what_they_did(name: str) -> None:
    body, out = STAYS[name]
    weights: dict[str, Any] = {"v": loud(4, 4, 1, 1), "w": compensating(4, 1, 3, 3), "l": LOUDNESS.reshape(1, 4, 1, 1)}
    if "If" in body:
        weights["n"] = np.array(1)
    text = f"{body} [dw] y = Conv<group=4>(b, w)"
    space = workspace(net(text, out=out, **weights))
    x = normal(3, 4, 6, 6)
    before = run(space, x=x)
    count = len(ops(space))
    check(space)
    assert len(ops(space)) == count + 1
    after = run(space, x=x)
    for name in before.keys() - {"y"}:
        np.testing.assert_array_equal(after[name], before[name])
    assert sqnr_db(before["y"], after["y"]) > 100


def test_two_that_read_one_tensor_share_the_factor() -> None:
    last = "[dw] y = Conv<group=4>(b, w) [other] z = Conv<group=4, strides=[2,2]>(b, u, c)"
    for act, added in (("b = Relu(a)", 0), (SILU, 1)):
        space = workspace(layers(act=act, last=last, out="y z", u=compensating(4, 1, 3, 3)))
        count = len(ops(space))
        check(space)
        assert len(ops(space)) == count + added
        assert ("1 by a Mul" if added else "1 in what makes them") in space.ledger.of("changed")[0].reason


def test_weights_that_others_read_are_not_touched() -> None:
    text = """[pw] a = Conv(h, v) b = Relu(a) [dw] y = Conv<group=4>(b, w) [twin] z = Conv(h, v)
        [quiet] q = Neg(x) [calm] u = Conv<group=4>(q, w)"""
    space = workspace(net(text, out="y z u", v=loud(4, 4, 1, 1), w=compensating(4, 1, 3, 3)))
    x = normal(3, 4, 6, 6)
    before = run(space, x=x)
    check(space)
    after = run(space, x=x)
    for name in "zu":
        np.testing.assert_array_equal(after[name], before[name])


def test_two_depthwise_layers_of_one_weight_are_each_balanced() -> None:
    text = f"""[pw] a = Conv(h, v) {SILU} [dw] d = Conv<group=4>(b, w)
        [pw2] e = Conv(d, v) f = Relu(e) [dw2] y = Conv<group=4>(f, w)"""
    space = workspace(net(text, v=loud(4, 4, 1, 1), w=compensating(4, 1, 3, 3)))
    check(space)
    for node in ("dw", "dw2"):
        assert spread(space, node) < ALIKE


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("batch", ["1", "3", "N"])
def test_opsets_and_fixed_batches_with_fewer_samples_than_asked_for(opset: int, batch: str) -> None:
    model = layers(opset=opset, batch=batch)
    space = workspace(model, {"x": normal(5, 4, 6, 6)})
    check(space, BalanceActivations(samples=64))


def test_tensors_of_unknown_shape() -> None:
    space = workspace(layers())
    for tensor in space.graph.tensors().values():
        if tensor.name in ("a", "s", "b"):
            tensor.shape = tensor.dtype = None
    check(space)


@pytest.mark.parametrize("taken", ["b/reach", "b/balanced", "b/balance", "b/magnitude", "b/axes", "b/Balance"])
@pytest.mark.parametrize("opset", [17, 18])
def test_names_that_the_model_uses(taken: str, opset: int) -> None:
    model = layers(opset=opset)
    model.graph.input[0].name = model.graph.node[0].input[0] = taken
    model.graph.node[-1].name = taken
    check(workspace(model), node=taken)


def test_an_input_of_integers() -> None:
    text = f"float_x = Cast<to=1>(x) [pw] a = Conv(float_x, v) {SILU} [dw] y = Conv<group=4>(b, w)"
    model = parse(f"g (int32[N,4,6,6] x) => (float y) {{ {text} }}", v=loud(4, 4, 1, 1), w=compensating(4, 1, 3, 3))
    check(workspace(model, {"x": np.arange(-288, 288, dtype=np.int32).reshape(4, 4, 6, 6)}))


def test_dead_channels_and_almost_dead_ones_are_left_as_they_are() -> None:
    loudness = np.array([1, 0, 0.01, 1e-5], np.float32)
    w = normal(4, 1, 3, 3) / np.maximum(loudness, 1e-3).reshape(4, 1, 1, 1)
    space = workspace(layers(v=loud(4, 4, 1, 1, loudness=loudness), w=w))
    before = reach(space)
    check(space)
    after = reach(space)
    np.testing.assert_array_equal(after[[1, 3]], before[[1, 3]])


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_an_infinite_activation_is_declined_with_a_reason(number: float) -> None:
    space = workspace(layers(act="b = Add(a, i)", i=np.array([1, number, 1, 1], np.float32).reshape(4, 1, 1)))
    assert changes_nothing(space, STEP)
    (entry,) = space.ledger.entries
    assert (entry.kind, entry.subject, entry.op_type) == ("declined", "dw", "Conv")
    assert "'b' infinite or NaN" in entry.reason


def test_behind_a_clip_a_mul_stays() -> None:
    check(workspace(layers(act="b = Clip(a, lo, hi)", lo=np.array(0, np.float32), hi=np.array(600, np.float32))))


@pytest.mark.parametrize(
    ("last", "options"),
    [
        ("k = Neg(w) [dw] y = Conv<group=4>(b, k)", {}),
        ("[dw] y = Conv<group=4>(b, w)", {"v": np.zeros((4, 4, 1, 1), np.float32)}),
        ("[dw] y = Conv<group=4>(b, w)", {"w": np.zeros((4, 1, 3, 3), np.float32)}),
        ("[dw] y = Conv<group=4>(b, w)", {"v": np.tile(normal(1, 4, 1, 1), (4, 1, 1, 1))}),
    ],
)
def test_what_gains_nothing_is_left_alone(last: str, options: dict[str, Any]) -> None:
    assert changes_nothing(workspace(layers(last=last, **options)), STEP)


def test_a_mul_has_to_gain_more_than_a_factor_that_is_free() -> None:
    assert changes_nothing(workspace(layers(v=loud(4, 4, 1, 1, loudness=LOUDNESS**0.1))), BalanceActivations())
    assert BalanceActivations()(workspace(layers(act="b = Relu(a)", v=loud(4, 4, 1, 1, loudness=LOUDNESS**0.4))))


def test_other_types_than_float32_are_left_alone() -> None:
    for name, dtype in (("float16", np.float16), ("double", np.float64)):
        text = f"[pw] a = Conv(x, v) {SILU} [dw] y = Conv<group=4>(b, w)"
        model = parse(f"g ({name}[N,4,6,6] x) => ({name} y) {{ {text} }}",
                      v=loud(4, 4, 1, 1).astype(dtype), w=compensating(4, 1, 3, 3).astype(dtype))  # fmt: skip
        assert changes_nothing(workspace(model), STEP)


def test_it_reads_as_many_samples_as_asked_for_in_batches_of_the_users_size() -> None:
    quiet, noisy = normal(2, 4, 6, 6), normal(2, 4, 6, 6, seed=1)
    noisy[:, 0] *= 1000
    model = net("b = Relu(x) [dw] y = Conv<group=4>(b, w)", w=compensating(4, 1, 3, 3))
    space = workspace(model, {"x": np.concatenate([quiet, noisy])})
    space.batch = 1
    assert not BalanceActivations(gain_db=2, samples=2)(space)
    assert BalanceActivations(gain_db=2, samples=4)(space)


def test_at_least_one_sample() -> None:
    with pytest.raises(RecipeError, match="samples: 0"):
        BalanceActivations(samples=0)


OUTLIERS = np.array([1, 60, 1, 0.1, 1, 30, 1, 1], np.float32)
NORMS = {
    "LayerNormalization": "n = LayerNormalization(x, s, t)",
    "RMS, written out": """p = Mul(x, x) m = ReduceMean<axes=[-1]>(p) e = Add(m, eps) r = Sqrt(e) d = Div(x, r)
        n = Mul(d, s)""",
    "written out, with a bias": """m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) p = Mul(c, c) v = ReduceMean<axes=[-1]>(p)
        e = Add(v, eps) r = Sqrt(e) d = Div(c, r) g = Mul(d, s) n = Add(g, t)""",
}


def tokens(body: str, outputs: str = "float[N,5,16] y", **weights: Any) -> Workspace:
    text = f"g (float[N,5,8] x) => ({outputs}) {{ {body} }}"
    given = {"s": OUTLIERS, "t": normal(8), "eps": np.array(1e-5, np.float32), **weights}
    model = parse(text, **{name: array for name, array in given.items() if reads(text, name)})
    return workspace(model, {"x": normal(8, 5, 8, seed=4)})


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_takes_the_factor_for_the_products_behind_it(name: str) -> None:
    w, u = normal(8, 16) / OUTLIERS[:, None], normal(8, 16, seed=1) / OUTLIERS[:, None]
    body = f"{NORMS[name]} [q] y = MatMul(n, w) [k] a = MatMul(n, u) z = Add(a, b)"
    space = tokens(body, "float[N,5,16] y, float[N,5,16] z", w=w, u=u, b=normal(16))
    before = ops(space)
    assert rewrite(space, STEP, Proof(space.source, space.samples))
    assert ops(space) == before
    assert "1 in what makes them" in space.ledger.of("changed")[-1].reason
    assert changes_nothing(space, STEP)


def test_behind_gelu_a_mul_along_the_last_axis_stays() -> None:
    body = "[f] f = MatMul(x, v) e = Erf(f) o = Add(e, one) g = Mul(f, o) [q] y = MatMul(g, w)"
    v, w = normal(8, 8) * OUTLIERS, normal(8, 16) / OUTLIERS[:, None]
    space = tokens(body, v=v, w=w, one=np.array(1, np.float32))
    assert rewrite(space, STEP, Proof(space.source, space.samples))
    (product,) = [node for node in space.graph.nodes if node.name == "g/Balance"]
    assert product.inputs[1].shape == (1, 1, 8)
    assert changes_nothing(space, STEP)


def test_weights_that_pay_more_than_the_activation_gains_are_left_alone() -> None:
    """One scale for all of a weight: factors of 60 would cost its other rows six bits."""
    space = tokens("n = LayerNormalization(x, s, t) y = MatMul(n, w)", w=normal(8, 16), s=OUTLIERS[::-1] ** 0.2)
    assert changes_nothing(space, BalanceActivations(per_channel=False, bits=4))


def test_what_a_batch_norm_told_is_known_of_what_the_mul_makes() -> None:
    space = workspace(layers())
    space.normals["b"] = Normal(np.ones(4), np.ones(4))
    before = reach(space)
    assert STEP(space)
    np.testing.assert_allclose(space.normals["b/balanced"].std, reach(space) / before, rtol=1e-5)
    np.testing.assert_array_equal(space.normals["b"].std, 1)


@st.composite
def nets(draw: st.DrawFn) -> onnx.ModelProto:
    """Two layers of any rank, groups and opset, channels of any loudness."""
    rank, groups, each = draw(st.integers(3, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    channels, multiplier = groups * each, draw(st.integers(1, 3))
    loudness = st.floats(2.0**-20, 2.0**13, width=32) | st.just(0.0)
    levels = np.array(draw(st.lists(loudness, min_size=channels, max_size=channels)), np.float32)
    act = draw(st.sampled_from(["b = Relu(a)", SILU, "b = Tanh(a)", "b = LeakyRelu(a)", "b = Add(a, a)"]))
    bias = draw(st.sampled_from(["", ", c"]))
    out = draw(st.sampled_from(["y", "y a", "y b"]))
    ends = [1] * (rank - 2)
    weights: dict[str, Any] = {
        "v": loud(channels, channels, *ends, loudness=levels),
        "w": normal(groups * multiplier, each, *[2] * (rank - 2)),
        **({"c": normal(groups * multiplier)} if bias else {}),
    }
    body = f"[pw] a = Conv(h, v) {act} [dw] y = Conv<group={groups}>(b, w{bias})"
    return net(body, rank, draw(st.sampled_from([13, 17, 18, 21])), out, channels=channels, **weights)


@st.composite
def products(draw: st.DrawFn) -> onnx.ModelProto:
    """A norm or a layer, and one or two layers of rows that share what it makes."""
    first = draw(st.sampled_from(["a = LayerNormalization(h, s, t)", "a = MatMul(h, v)", "a = Mul(h, s)"]))
    act = draw(st.sampled_from(["b = Identity(a)", "b = Relu(a)", "b = Erf(a)"]))
    last = draw(
        st.sampled_from(["y = MatMul(b, w)", "y = MatMul(b, w) z = MatMul(b, u)", "y = MatMul(b, w) z = Exp(b)"])
    )
    levels = draw(st.lists(st.floats(2.0**-10, 2.0**6, width=32), min_size=8, max_size=8))
    weights: dict[str, Any] = {
        "s": np.array(levels, np.float32),
        "t": normal(8),
        "v": normal(8, 8),
        "w": normal(8, 6),
        "u": normal(8, 3),
    }
    text = f"g (float[N,5,8] x) => (float y{', float z' if 'z' in last else ''}) {{ h = Neg(x) {first} {act} {last} }}"
    return parse(text, **{name: array for name, array in weights.items() if reads(text, name)})


@settings(max_examples=80, deadline=None)
@given(nets() | products())
def test_the_function_is_kept_and_a_second_run_changes_nothing(model: onnx.ModelProto) -> None:
    space = workspace(model)
    proof = Proof(space.source, space.samples)
    if STEP(space):
        assert proof.objection(space.model(), TOLERANCE) is None
    assert changes_nothing(space, STEP)


WIDE = np.tile(LOUDNESS, 4)  # TensorRT leaves narrow layers in float
SAMPLES = {"x": normal(32, 16, 6, 6, seed=5)}


# Behind SiLU onnxruntime gains less: it rounds what the SiLU reads, too.
@pytest.mark.parametrize(
    ("backend", "act"), [(name, "b = Relu(a)") for name in BACKENDS] + [("openvino", SILU), ("tensorrt", SILU)]
)
def test_integers_lose_less(backend: str, act: str) -> None:
    # Weights that make up for the loudness: what is quiet matters as much.
    w = normal(16, 1, 3, 3) / WIDE.reshape(16, 1, 1, 1)
    text = f"[pw] a = Conv(h, v) {act} [dw] e = Conv<group=16, pads=[1,1,1,1]>(b, w) [out] y = Conv(e, u)"
    model = net(text, channels=16, v=loud(16, 16, 1, 1, loudness=WIDE), w=w, u=normal(16, 16, 1, 1, seed=8))
    wanted = run(model, **SAMPLES)["y"]
    found = {}
    for balanced in (True, False):
        without = (
            EqualizeChannels if balanced else EqualizeChannels | BalanceActivations
        )  # the former does as much here
        steps = [step for step in RECIPES["default"].passes if not isinstance(step, without)]
        made = quantize(model, SAMPLES, backend=backend, recipe=Recipe(tuple(steps)), options=Options(build=False))
        graph = made[backend].model
        found[balanced] = sqnr_db(wanted, run(graph, **SAMPLES)["y"])
        if backend != "tensorrt":  # there, a graph is only compiled
            answers = backend_of(backend).engine(graph, {"x": SAMPLES["x"].shape}).run(SAMPLES)
            assert sqnr_db(wanted, answers["y"]) > found[balanced] - 1
    assert found[True] > found[False] + 6


@pytest.mark.parametrize(("backend", "turned"), [("openvino", 2), ("tensorrt", 0)])
def test_channels_that_reach_further_below_zero_are_turned_where_grids_have_zero_points(
    backend: str, turned: int
) -> None:
    shifts = np.array([8, -5, 4, -6], np.float32)  # behind SiLU two channels have hardly anything above zero
    model = layers(
        act=f"[up] d = Add(a, shifts) {SILU.replace('(a', '(d')}",
        v=0.3 * normal(4, 4, 1, 1),
        w=np.sign(normal(4, 1, 3, 3)) / np.array([1, 0.01, 1, 0.01], np.float32).reshape(4, 1, 1, 1),
        shifts=shifts.reshape(4, 1, 1),
    )
    space = workspace(model, backend=backend)
    fed = normal(8, 4, 6, 6, seed=4)
    before = run(space, x=fed)["y"]
    assert rewrite(space, STEP, Proof(space.source, space.samples))
    assert sqnr_db(before, run(space, x=fed)["y"]) > 90
    (mul,) = (node for node in space.graph.nodes if node.op == "Mul" and isinstance(node.inputs[1], gs.Constant))
    assert int((mul.inputs[1].values < 0).sum()) == turned
    assert changes_nothing(space, STEP)
