"""Integers make in the mean what floats make, and never less on samples that corrected nothing."""

from typing import Any, Literal

import numpy as np
import onnx
import pytest

from onnxq import Options, Recipe, held_out, quantize
from onnxq.backends import BACKENDS, backend_of
from onnxq.errors import RecipeError
from onnxq.held_out import noise
from onnxq.model import load_model, to_graph
from onnxq.passes import PASSES, Calibrate, CorrectBias, FoldBatchNorm, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes import correct_bias as module
from onnxq.passes.quantize_bias import LARGEST
from onnxq.recipe import load_recipe
from onnxq.samples import input_specs, open_samples
from onnxq.testing import Array, changes_nothing, normal, parse, run
from onnxq.workspace import Workspace

BODY = """[one] a = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(a)
    [dw] c = Conv<group=8, pads=[1,1,1,1]>(r, w2) s = Relu(c)
    [two] d = Conv<pads=[1,1,1,1]>(s, w3, b3) e = Add(d, r) t = Relu(e) p = GlobalAveragePool(t) f = Flatten(p)
    [head] y = Gemm<transB=1>(f, w4, b4)"""
TEXT = f"g (float[N,3,8,8] x) => (float[N,6] y) {{ {BODY} }}"
SHAPES = {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (8, 8, 3, 3), "w4": (6, 8)}
X = np.abs(normal(64, 3, 8, 8)) + np.linspace(0, 1, 64, dtype=np.float32).reshape(-1, 1, 1, 1)
TEST = np.abs(normal(64, 3, 8, 8, seed=1)) + np.float32(0.5)
HIT = ("onnxruntime", "openvino", "tensorrt", "tflite", "vitis")
LEFT = {4: 0.1, 8: 0.8}  # of the error, by bits


def biased_weight(*shape: int, seed: int = 0, bits: int = 4, shifted: bool = True) -> Array:
    """Weights a little above the middle between two integers of their grid, of which nearly all are rounded up;
    ``shifted``: of few bits, as engines have them, which the lowest integer belongs to as well."""
    largest = 2 ** (bits - 1) - 1
    whole = np.random.default_rng(seed).integers(-largest, largest, shape)
    weight = (whole + 0.5 + 0.05 * np.random.default_rng(seed).random(shape)).astype(np.float32)
    weight.reshape(shape[0], -1)[:, 0] = largest
    if shifted and bits < 8:
        weight.reshape(shape[0], -1)[:, 1] = -largest - 1
    return weight / np.float32(largest * np.sqrt(np.prod(shape[1:])))


def net(bits: int = 4, text: str = TEXT, shifted: bool = True, **changed: Any) -> onnx.ModelProto:
    weights: dict[str, Any] = {
        name: biased_weight(*shape, seed=at, bits=bits, shifted=shifted)
        for at, (name, shape) in enumerate(SHAPES.items())
    }
    biases = {"b1": normal(8), "b3": normal(8), "b4": normal(6)}
    return parse(text, **{**weights, **biases, **changed})


def rounded(
    model: onnx.ModelProto, bits: Literal[4, 8] = 4, backend: str = "openvino", x: Array | None = None
) -> Workspace:
    source = load_model(model)
    samples = open_samples({source.graph.input[0].name: X if x is None else x}, input_specs(source))
    space = Workspace(to_graph(source), source, samples, backend_of(backend))
    for step in (FoldBatchNorm(), PlanIntegers(), Calibrate("minmax"), RoundWeights(bits)):
        step(space)
    return space


def error(space: Workspace, x: Array = TEST) -> float:
    """Of the Q/DQ graph to come, on samples that the pass never saw."""
    reference = module.with_biases(space, space.uncorrected).model()
    (found,) = noise(reference, [module.simulated(space, {})], [{reference.graph.input[0].name: x}])
    return found


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("backend", HIT)
def test_outputs_come_closer(backend: str, bits: Literal[4, 8]) -> None:
    space = rounded(net(bits, shifted=backend_of(backend).low_bits.shifts), bits, backend)
    before, graph = error(space), [node.op for node in space.graph.nodes]
    assert CorrectBias()(space)
    assert error(space) < before * (LEFT[bits] if backend != "vitis" or bits == 4 else 0.95)  # its biases have 8 bits
    assert [node.op for node in space.graph.nodes] == graph
    assert changes_nothing(space, CorrectBias())
    (told,) = (entry for entry in space.ledger.of("changed") if entry.reason.startswith("biases of"))
    assert told.subject == "graph"
    assert told.reason.startswith(f"biases of {len(space.uncorrected)} layers corrected: SQNR of the outputs ")
    assert told.reason.endswith("dB on 32 samples")
    layers = [entry for entry in space.ledger.of("changed") if entry.detail]
    assert {entry.subject for entry in layers} == space.uncorrected.keys() and len(layers) >= 3


def test_a_correction_is_the_mean_that_rounding_takes() -> None:
    """Of the first layer, whose input is exact but for its own rounding; where its ReLU is shut nothing counts."""
    space = rounded(net())
    node = next(entry for entry in space.graph.nodes if entry.name == "one")
    bias = np.array(node.inputs[2].values)
    reference, quantized = space.model(), module.simulated(space, {})
    for model in (reference, quantized):
        del model.graph.output[:]
    reference.graph.output.append(onnx.ValueInfoProto(name="a"))
    quantized.graph.output.append(onnx.ValueInfoProto(name="a"))
    fitting = np.concatenate([X[at : at + 4] for at in range(0, 64, 8)])
    wanted, made = run(reference, x=fitting)["a"], run(quantized, x=fitting)["a"]
    passed = ((np.maximum(wanted, 0) - np.maximum(made, 0)) / (wanted - made)) ** 2
    lost = (passed * (wanted - made)).sum(axis=(0, 2, 3)) / passed.sum(axis=(0, 2, 3))
    assert CorrectBias()(space)
    np.testing.assert_allclose(node.inputs[2].values, bias + lost, atol=1e-5)
    assert np.abs(lost).max() > 0.1


def test_a_layer_without_a_bias_gets_one_and_a_shared_one_is_split() -> None:
    text = """g (float[N,8,8,8] x) => (float[N,8,8,8] y)
        { [one] a = Conv<pads=[1,1,1,1]>(x, w3, b3) r = Relu(a) [two] c = Conv<pads=[1,1,1,1]>(r, w3, b3) s = Relu(c)
          [bare] y = Conv<pads=[1,1,1,1]>(s, w3) }"""
    space = rounded(net(text=text), x=np.abs(normal(32, 8, 8, 8)))
    before = error(space, np.abs(normal(32, 8, 8, 8, seed=1)))
    assert CorrectBias()(space)
    assert error(space, np.abs(normal(32, 8, 8, 8, seed=1))) < before / 3
    nodes = {node.name: node for node in space.graph.nodes}
    assert len({node.inputs[1].name for node in nodes.values() if node.op == "Conv"}) == 1
    assert nodes["bare"].inputs[2].values.shape == (8,)
    assert not np.array_equal(nodes["one"].inputs[2].values, nodes["two"].inputs[2].values)
    InsertQdq()(space)
    onnx.checker.check_model(space.model(), full_check=True)


OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "matmul": ("float[N,3,8] x", "[m] a = MatMul(x, w) b = Add(a, c) r = Relu(b) d = MatMul(r, v) y = Add(d, c)",
               {"w": biased_weight(8, 8).T, "v": biased_weight(8, 8, seed=1).T, "c": normal(8)}),
    "transposed": ("float[N,4,5,5] x", "a = ConvTranspose<group=2>(x, w) r = Relu(a) y = ConvTranspose(r, v, c)",
                   {"w": biased_weight(4, 3, 2, 2), "v": biased_weight(6, 4, 2, 2, seed=1), "c": normal(4)}),
    "groups": ("float[N,4,5,5] x", "[l] a = Conv<group=2>(x, w) r = Relu(a) [n] y = Conv(r, v, c)",
               {"w": biased_weight(6, 2, 2, 2), "v": biased_weight(4, 6, 2, 2, seed=1), "c": normal(4)}),
    "fixed batch": ("float[4,4,5,5] x", "[l] a = Conv(x, w) r = Relu(a) [n] y = Conv(r, v, c)",
                    {"w": biased_weight(6, 4, 2, 2), "v": biased_weight(4, 6, 2, 2, seed=1), "c": normal(4)}),
    "two readers": ("float[N,4,5,5] x", "[l] a = Conv(x, w) e = Exp(a) r = Relu(a) s = Add(e, r) [n] y = Conv(s, v, c)",
                    {"w": biased_weight(6, 4, 2, 2), "v": biased_weight(4, 6, 2, 2, seed=1), "c": normal(4)}),
    "if": ("float[N,4,5,5] x", """[l] a = Conv(x, w) m = ReduceMax<keepdims=0>(a) g = Greater(m, zero)
           r = If (g) <then_branch = t () => (float[N,6,A,B] u) { u = Relu(a) }, else_branch = f () =>
           (float[N,6,A,B] z) { z = Neg(a) }> [n] y = Conv(r, v, c)""",
           {"w": biased_weight(6, 4, 2, 2), "v": biased_weight(4, 6, 2, 2, seed=1), "c": normal(4),
            "zero": np.array(0, np.float32)}),
    "recurrent": ("float[N,3,8] x", """[l] i = MatMul(x, w) a = Add(i, c) h = GRU<hidden_size=4, layout=0>(a, gw, gr)
                  s = Squeeze(h, one) [n] d = MatMul(s, v) y = Add(d, c)""",
                  {"w": biased_weight(8, 8).T, "v": biased_weight(8, 4, seed=1).T, "c": normal(8),
                   "gw": normal(1, 12, 8), "gr": normal(1, 12, 4), "one": np.array([1])}),
}  # fmt: skip


@pytest.mark.parametrize("method", ["empirical", "analytic"])
@pytest.mark.parametrize("name", OTHERS)
def test_layers_of_every_kind(name: str, method: Literal["empirical", "analytic"]) -> None:
    inputs, body, weights = OTHERS[name]
    sizes = "N,A,B" if name in ("matmul", "recurrent") else "N,A,B,C"
    model = parse(f"g ({inputs}) => (float[{sizes}] y) {{ {body} }}", **weights)
    shape = [int(size) for size in inputs[len("float[") : inputs.index("]")].split(",")[1:]]
    space = rounded(model, x=np.abs(normal(32, *shape)))
    test = np.abs(normal(4, *shape, seed=3))
    before = error(space, test)
    done = CorrectBias(method=method)(space)
    assert done == (method == "empirical")
    assert error(space, test) < before * 0.7 if done else error(space, test) == before
    assert changes_nothing(space, CorrectBias(method=method))


def test_a_correction_that_does_not_help_the_outputs_is_undone() -> None:
    space = rounded(net())
    before = space.model().SerializeToString(deterministic=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(held_out, "noise", lambda *given: (0.01, 0.02))
        assert not CorrectBias()(space)
    assert space.model().SerializeToString(deterministic=True) == before and not space.uncorrected
    (told,) = (entry for entry in space.ledger.entries if entry.stage == "correct_bias")
    assert told.kind == "declined" and "undone" in told.reason and "20.0 -> 17.0 dB" in told.reason


def test_what_is_seen_is_not_what_judges() -> None:
    """Samples that judge are of another kind: what helps the others would harm them."""
    x = X.copy()
    for at in range(4, 64, 8):
        x[at : at + 4] *= -1
    space = rounded(net(), x=x)
    before = error(space, x[4:8])
    CorrectBias()(space)
    assert error(space, x[4:8]) <= before


def test_too_few_samples_are_said() -> None:
    space = rounded(net(), x=X[:2])
    assert not CorrectBias()(space)
    assert "two batches of samples are needed" in space.ledger.of("declined")[-1].reason
    space = rounded(net(), x=X[:3])
    assert CorrectBias()(space)
    assert space.ledger.of("changed")[-1].detail


def test_a_matmul_without_a_sum_says_so() -> None:
    text = "g (float[N,3,8] x) => (float[N,3,8] y) { [m] a = MatMul(x, w) [n] b = MatMul(a, w) y = Add(b, c) }"
    space = rounded(parse(text, w=biased_weight(8, 8).T, c=normal(8)), x=np.abs(normal(32, 3, 8)))
    assert CorrectBias()(space)
    (told,) = space.ledger.of("declined")
    assert told.subject == "m" and "a MatMul without the Add of a constant behind it has no bias" in told.reason
    assert len(space.uncorrected) == 1


def test_batch_norms_tell_enough_for_the_analytic_method() -> None:
    text = """g (float[N,8,8,8] x) => (float[N,6,8,8] y) {
        [one] i = Conv(x, w) a = BatchNormalization(i, g, h, m, v) r = Relu(a) [two] c = Conv(r, u, b)
        s = Sigmoid(c) [three] y = Conv(s, t) }"""
    x, w = normal(64, 8, 8, 8), normal(8, 8, 1, 1)
    first = run(parse("g (float[N,8,8,8] x) => (float[N,8,8,8] a) { a = Conv(x, w) }", w=w), x=x)["a"]
    statistics: dict[str, Any] = {
        "m": first.mean(axis=(0, 2, 3)),
        "v": first.var(axis=(0, 2, 3)),
        "g": np.ones(8, np.float32),
    }
    weights: dict[str, Any] = {
        "w": w,
        "u": biased_weight(6, 8, 1, 1),
        "t": normal(6, 6, 1, 1, scale=0.1),
        "b": normal(6),
    }
    space = rounded(parse(text, h=np.full(8, 0.5, np.float32), **statistics, **weights), x=x)
    before = error(space, normal(32, 8, 8, 8, seed=2))
    assert CorrectBias("analytic")(space)
    assert error(space, normal(32, 8, 8, 8, seed=2)) < before / 2
    reasons = {entry.subject: entry.reason for entry in space.ledger.of("declined")}
    assert reasons.keys() == {"one", "three"} and space.uncorrected.keys() == {"two"}
    assert reasons["one"].endswith("an input of the model") and reasons["three"].endswith("behind Sigmoid")


@pytest.mark.parametrize("backend", ["onnxruntime", "tflite"])
def test_corrected_biases_fit_32_bits(backend: str) -> None:
    model = net(8, w1=biased_weight(8, 3, 3, 3, bits=8) * np.float32(1e-9), b1=np.full(8, 100, np.float32))
    space = rounded(model, 8, backend)
    CorrectBias()(space)
    for step in (InsertQdq(), *space.backend.lowering):
        step(space)
    biases = [onnx.numpy_helper.to_array(entry) for entry in space.model().graph.initializer if entry.data_type == 6]
    assert len(biases) >= 3 and max(np.abs(bias.astype(np.int64)).max() for bias in biases) < LARGEST
    assert not [entry for entry in space.ledger.of("declined") if entry.stage == "quantize_bias"]


def test_the_float_model_beside_a_side_file_has_the_corrected_biases() -> None:
    recipe = corrected_recipe().changed(RoundWeights, solver="nearest")
    result = quantize(net(8), {"x": X}, backend="qnn", recipe=recipe, options=Options(build=False))["qnn"]
    assert result.delivery is not None
    held = {entry.name: onnx.numpy_helper.to_array(entry) for entry in result.delivery.model.graph.initializer}
    found = {node.name: held[node.input[2]] for node in result.delivery.model.graph.node if node.name == "one"}
    assert np.abs(found["one"] - normal(8)).max() > 1e-4


def corrected_recipe(**options: Any) -> Recipe:
    steps = list(load_recipe("default").passes)
    return Recipe(tuple(CorrectBias(**options) if isinstance(step, CorrectBias) else step for step in steps))


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - {*HIT, "nnie"}))
def test_every_backend_takes_it(backend: str) -> None:
    recipe, options = corrected_recipe().changed(RoundWeights, solver="nearest"), Options(build=False, weight_bits=4)
    steps = tuple(step for step in recipe.passes if not isinstance(step, CorrectBias))
    plain = quantize(net(), {"x": X}, backend=backend, recipe=Recipe(steps), options=options)[backend]
    corrected = quantize(net(), {"x": X}, backend=backend, recipe=recipe, options=options)[backend]
    before, after = noise(load_model(net()), [plain.model, corrected.model], [{"x": TEST}])
    assert after < before


def test_where_it_stands_in_a_recipe() -> None:
    assert PASSES["correct_bias"] is CorrectBias
    steps = [
        step for step in load_recipe("default").passes if not isinstance(step, RoundWeights | InsertQdq | CorrectBias)
    ]
    for order, said in (
        ((*steps, CorrectBias(), RoundWeights(), InsertQdq()), "Put 'round_weights' before it"),
        ((*steps, RoundWeights(), InsertQdq(), CorrectBias()), "has to come before 'insert_qdq'"),
    ):
        with pytest.raises(RecipeError, match=said):
            quantize(net(), {"x": X}, recipe=Recipe(order), options=Options(build=False))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"method": "magic"}, "method"), ({"samples": 3}, "3 is below 4"), ({"samples": "all"}, "samples")],
)
def test_options_are_checked(options: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe({"passes": ["plan", {"correct_bias": options}, "insert_qdq"]})
