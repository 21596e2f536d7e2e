"""Channels of layers in a row come to one range; the function stays, integers lose less, and reasons are told."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxq import Options, quantize
from onnxq.backends import backend_of
from onnxq.errors import RecipeError
from onnxq.normal import Normal
from onnxq.passes import DropIdle, EqualizeChannels, FoldBatchNorm, FoldConstants
from onnxq.proof import Proof, rewrite
from onnxq.sqnr import sqnr_db
from onnxq.testing import Array, changes_nothing, normal, ops, parse, reads, run, scaled, workspace
from onnxq.workspace import TOLERANCE, Workspace
from random_graphs import Network, networks

STEP = EqualizeChannels()
LOUD = np.array([1, 30, 0.1, 3, 0.02, 8, 0.5, 1], np.float32)
X = normal(8, 3, 8, 8)
CONSTANTS: dict[str, Any] = {
    "v": scaled(8, 3, 3, 3),
    "u": normal(8, scale=0.1),
    "d": scaled(8, 1, 3, 3, seed=1),
    "w": scaled(4, 8, 1, 1, seed=2),
    "k": scaled(4, 4, 1, 1, seed=3),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "two": np.array(2, np.float32),
}
TRIPLE = "[one] a = Conv(x, v, u) {} [dw] c = Conv<group=8>(b, d, u) e = Relu(c) [two] f = Conv(e, w) y = Relu(f)"
CLIP = TRIPLE.format("[act] b = Clip(a, zero, {})")


LONG = TRIPLE.replace("y = Relu(f)", "g = Relu(f) [three] h = Conv(g, k1) [four] y = Conv(h, k2)")
KEYS: dict[str, Any] = {
    "k1": CONSTANTS["k"] * LOUD[:4].reshape(4, 1, 1, 1),
    "k2": CONSTANTS["k"] / LOUD[:4].reshape(1, 4, 1, 1),
}
RELU = TRIPLE.format("b = Relu(a)")


def net(body: str = RELU, outputs: str = "y", loud: bool = True, **more: Any) -> onnx.ModelProto:
    """Channels between the layers are as unlike as ``LOUD``, in ways that cancel out."""
    held = {**CONSTANTS, **more}
    if loud:
        held["v"], held["u"] = held["v"] * LOUD.reshape(8, 1, 1, 1), held["u"] * LOUD
        held["d"] = held["d"] / LOUD.reshape(8, 1, 1, 1)
    values = ", ".join(f"float[{','.join(name + side for side in 'ABCD')}] {name}" for name in outputs.split())
    weights = {name: array for name, array in held.items() if reads(body, name)}
    return parse(f"g (float[N,3,8,8] x) => ({values}) {{ {body} }}", **weights)


def space_of(model: onnx.ModelProto, backend: str = "onnxruntime", x: Array = X) -> Workspace:
    return workspace(model, {"x": x}, backend)


def check(space: Workspace, step: EqualizeChannels = STEP, x: Array = X) -> None:
    """It does something, proves itself, and does nothing the second time."""
    before = run(space, x=x)
    proof = Proof(space.model(), space.samples)
    assert step(space)
    assert proof.objection(space.model(), step.tolerance) is None
    onnx.checker.check_model(space.model(), full_check=True)
    for name, array in run(space, x=x).items():
        assert sqnr_db(before[name], array) > 100
    assert changes_nothing(space, step)


def reasons(space: Workspace, kind: Any = "declined") -> list[str]:
    return [entry.reason for entry in space.ledger.of(kind) if entry.subject != "graph"]


def rows(space: Workspace, name: str) -> Array:
    weight = next(node for node in space.graph.nodes if node.name == name).inputs[1].values
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1))


def test_channels_of_a_depthwise_triple_come_to_one_range() -> None:
    space = space_of(net())
    assert rows(space, "one").max() / rows(space, "one").min() > 300
    check(space)
    assert rows(space, "one").max() / rows(space, "one").min() < 4
    assert rows(space, "dw").max() / rows(space, "dw").min() < 4
    assert [entry.reason for entry in space.ledger.of("changed")] == [
        "channels brought to one range between 2 groups of layers"
    ]
    assert space.ledger.of("declined") == []
    assert space.rewritten == {("equalize_channels", "one"): "Conv", ("equalize_channels", "dw"): "Conv"}


def test_a_net_whose_channels_are_alike_is_left_alone() -> None:
    space = space_of(net(loud=False))
    STEP(space)
    assert changes_nothing(space, STEP)
    assert changes_nothing(space_of(net(loud=False)), EqualizeChannels(gain_db=20))
    assert changes_nothing(space_of(parse("g (float[N,3,8,8] x) => (float[N,3,8,8] y) { y = Relu(x) }")), STEP)


PER_TENSOR = "plan", {"calibrate": {"activations": "minmax"}}, {"round_weights": {"per_channel": False}}, "insert_qdq"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_per_tensor_integers_lose_as_little_as_if_channels_had_never_been_unlike(backend: str) -> None:
    def kept(model: onnx.ModelProto, *first: Any) -> float:
        recipe = {"passes": ["fold_constants", *first, *PER_TENSOR]}
        made = quantize(model, {"x": X}, backend=backend, recipe=recipe, options=Options(build=False))[backend]
        return sqnr_db(run(model, x=X)["y"], run(made.model, x=X)["y"])

    equalized = kept(net(), {"equalize_channels": {"per_channel": False}})
    assert equalized > kept(net(loud=False)) - 2  # within 1 dB on networks of more channels
    assert equalized > kept(net()) + 10


def test_what_a_batch_norm_told_is_scaled() -> None:
    space = space_of(net())
    space.normals["a"] = Normal(LOUD.astype(np.float64), LOUD.astype(np.float64))
    before = rows(space, "one")
    assert STEP(space)
    np.testing.assert_allclose(space.normals["a"].std, LOUD * rows(space, "one") / before, rtol=1e-5)


def test_a_bound_that_is_never_reached_makes_a_relu() -> None:
    space = space_of(net(CLIP.format("six")), x=X / 20)
    check(space, x=X / 20)
    assert ops(space) == ["Conv", "Relu", "Conv", "Relu", "Conv", "Relu"]
    (reason,) = reasons(space, "changed")
    assert reason.startswith("its bound 6 is never reached (at most ")
    assert reason.endswith("): treated as ReLU")


def test_a_bound_that_is_reached_by_none_of_the_samples_looked_at_but_by_another_one() -> None:
    x = X / 20
    x[7] = 20 * X[7]
    step = EqualizeChannels(samples=7)
    few, more = space_of(net(CLIP.format("six")), x=x[:7]), space_of(net(CLIP.format("six")), x=x)
    assert step(few)
    assert "Clip" not in ops(few)
    step(more)
    assert "Clip" in ops(more)
    assert "its channels stay unlike: a Clip bounds them all at 6" in reasons(more)


def test_no_upper_bound_is_a_relu() -> None:
    body = TRIPLE.format("[act] b = Clip(a, zero)")
    space = space_of(net(body))
    check(space)
    assert reasons(space, "changed") == ["it has no upper bound: treated as ReLU"]


def test_a_bound_becomes_one_for_each_channel_where_engines_fuse_a_min() -> None:
    space = space_of(net(CLIP.format("two")), "tensorrt")
    check(space)
    assert ops(space) == ["Conv", "Relu", "Min", "Conv", "Relu", "Conv", "Relu"]
    assert "its bound 2 became one per channel" in reasons(space, "changed")
    bounds = next(node for node in space.graph.nodes if node.op == "Min").inputs[1].values
    assert bounds.shape == (8, 1, 1)
    assert len(set(bounds.ravel())) > 1


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_else_a_clip_is_left_alone_and_that_is_told(backend: str) -> None:
    space = space_of(net(CLIP.format("two")), backend)
    STEP(space)
    assert "Clip" in ops(space)
    assert "its channels stay unlike: a Clip bounds them all at 2" in reasons(space)
    assert changes_nothing(space, STEP)


def test_with_scales_per_channel_nothing_is_done_unless_a_backend_has_none() -> None:
    """What is gained then is the activations' alone, which ranges do not tell well enough."""
    step = EqualizeChannels(per_channel=True)
    assert changes_nothing(space_of(net()), step)
    both = space_of(net())
    both.beside = (backend_of("snpe"),)
    check(both, step)


def test_a_bound_becomes_one_for_each_channel_only_where_all_backends_fuse_it() -> None:
    space = space_of(net(CLIP.format("two")), "tensorrt")
    space.beside = (backend_of("openvino"),)
    STEP(space)
    assert "Clip" in ops(space)


DECLINED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an output": (TRIPLE.format("b = Relu(a)"), "y b", {}, "'b' is an output of the model"),
    "shared weights": (
        "[one] a = Conv(x, v, u) b = Relu(a) [two] c = Conv(b, w) [three] e = Conv(b, w) y = Add(c, e)",
        "y",
        {},
        "a weight is shared by several layers",
    ),
    "another reader": (TRIPLE.format("b = Relu(a) z = Exp(a)"), "y z", {}, "Exp does not commute with a factor"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_declined_is_told_where_it_would_gain(name: str) -> None:
    body, outputs, more, reason = DECLINED[name]
    space = space_of(net(body, outputs, **more))
    STEP(space)
    assert any(reason in told for told in reasons(space)), reasons(space)
    alike = space_of(net(body, outputs, loud=False, **more))
    EqualizeChannels(gain_db=20)(alike)
    assert reasons(alike) == []


def test_infinite_weights_are_left_alone_and_told() -> None:
    w = CONSTANTS["w"].copy()
    w[0, 0] = np.inf
    body = (
        "[one] a = Conv(x, v, u) b = Relu(a) [dw] c = Conv<group=8>(b, d) e = Relu(c) [two] f = Conv(e, w) y = Relu(f)"
    )
    space = space_of(net(body, w=w))
    before = next(node for node in space.graph.nodes if node.name == "two").inputs[1].values
    STEP(space)
    after = next(node for node in space.graph.nodes if node.name == "two").inputs[1].values
    np.testing.assert_array_equal(after, before)
    assert any("infinite" in reason for reason in reasons(space))


def test_channels_that_are_all_zero_stay_so() -> None:
    v, u, d, w = (CONSTANTS[name].copy() for name in "vudw")
    v[1], u[1], d[1], w[:, 2] = 0, 0, 0, 0
    space = space_of(net(v=v, u=u, d=d, w=w))
    check(space)
    assert rows(space, "one")[1] == 0
    assert rows(space, "dw")[1] == 0


def test_activations_that_are_not_finite_have_no_say() -> None:
    space = space_of(net(u=np.full(8, np.inf, np.float32)))
    STEP(space)
    assert all(np.isfinite(rows(space, name)).all() for name in ("one", "dw", "two"))


def test_what_is_barred_is_not_done_and_the_rest_is() -> None:
    space = space_of(net(LONG.format("b = Relu(a)"), **KEYS))
    space.barred = frozenset({("equalize_channels", "one")})
    before = rows(space, "one")
    assert STEP(space)
    np.testing.assert_array_equal(rows(space, "one"), before)
    assert ("equalize_channels", "three") in space.rewritten


def test_a_rewrite_that_changed_the_function_is_undone_alone() -> None:
    """The samples of the proof reach a bound that those looked at do not."""
    model = net(LONG.format("[act] b = Clip(a, zero, six)"), **KEYS)
    space = space_of(model, x=X / 20)
    assert rewrite(space, STEP, Proof(space.model(), space_of(model, x=20 * X).samples))
    assert "Clip" in ops(space)
    assert ("equalize_channels", "three") in space.rewritten
    assert any("undone: output 'y' differs" in reason for reason in reasons(space))


def test_options_are_checked() -> None:
    with pytest.raises(RecipeError, match="samples: 0 is below 1"):
        EqualizeChannels(samples=0)


FOLDS = (FoldConstants(), DropIdle(), FoldBatchNorm())
STEPS = st.builds(EqualizeChannels, gain_db=st.sampled_from([0.1, 1.0]))


def _steady(space: Workspace, proof: Proof) -> bool:
    """Whether float32 can tell what the network computes: it hardly matters that its inputs are rounded."""
    nudged = space.model()
    for node in nudged.graph.node:
        node.input[:] = ["nudged" if name == "x" else name for name in node.input]
    nudged.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1 + 2**-20, np.float32), "nudge"))
    nudged.graph.node.insert(0, onnx.helper.make_node("Mul", ["x", "nudge"], ["nudged"]))
    return proof.objection(nudged, TOLERANCE / 4) is None


def test_random_networks_keep_their_function_and_are_equalized_once() -> None:
    found = []

    @settings(max_examples=150, deadline=None)
    @given(networks(unlike=1.0), STEPS, st.sampled_from(["onnxruntime", "tensorrt"]))
    def holds(network: Network, step: EqualizeChannels, backend: str) -> None:
        space, x = workspace(network.model(), backend=backend), normal(3, 4, 6, 6, seed=12)
        for fold in FOLDS:
            fold(space)
        before, proof = run(space, x=x), Proof(space.model(), space.samples)
        assume(_steady(space, proof))
        found.append(step(space))
        onnx.checker.check_model(space.model(), full_check=True)
        assert proof.objection(space.model(), step.tolerance) is None
        assert changes_nothing(space, step)
        after = run(space, x=x)
        assert after.keys() == before.keys()
        for name, array in before.items():
            assert sqnr_db(array, after[name]) > 70 or np.allclose(array, after[name], atol=1e-5)

    holds()
    assert np.mean(found) > 0.2
