"""Weights of layers in bodies of If, Loop and Scan become integers, and the layers compute in float."""

from typing import Any

import numpy as np
import onnx
import pytest

from onnxq.backends import backend_of, onnxruntime
from onnxq.model import load_model
from onnxq.options import Options
from onnxq.passes import Calibrate, InsertQdq, PlanIntegers, RoundWeights
from onnxq.passes.unfold_dequantize import UnfoldDequantize
from onnxq.pipeline import quantize
from onnxq.plan import Plan
from onnxq.planning.bodies import best_axis
from onnxq.planning.placement import Wishes, place
from onnxq.sqnr import sqnr_db
from onnxq.testing import changes_nothing, normal, ops, parse, run, scaled, workspace

# One layer as exporters write it, with its weight moved in the body; one whose weight two bodies read; one small.
CHOICE = """g (float[1,64] x, bool flag) => (float[1,64] y) { [choice] y = If(flag) <
    then_branch = a () => (float[1,64] p) {
        m = Transpose<perm=[1,0]>(w) [one] h = MatMul(x, m) [two] p = Gemm(h, v) },
    else_branch = b () => (float[1,64] q) { [three] h2 = Gemm(x, v) [tiny] t = MatMul(h2, u) q = MatMul(t, u2) }> }"""
WEIGHTS: dict[str, Any] = {"w": scaled(64, 64), "v": scaled(64, 64, seed=1), "u": normal(64, 2), "u2": normal(2, 64)}
X = normal(1, 64)
LOOP = """g (float[1,64] x) => (float[1,64] y) { [repeat] y = Loop(count, yes, x) <
    body = r (int64 i, bool go, float[1,64] s) => (bool on, float[1,64] t)
    { on = Identity(go) [inner] p = Gemm(s, w) t = Tanh(p) }> }"""
COUNT: dict[str, Any] = {"count": np.array(3), "yes": np.array(True)}


def plan(text: str = CHOICE, backend: str = "onnxruntime", wishes: Wishes = Wishes(), **other: Any) -> Plan:  # noqa: B008
    return place(workspace(parse(text, **{**WEIGHTS, **other})).graph, backend_of(backend), wishes)


def constants_in_body(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with one weight made by a Constant node in the first body, as torch writes a branch."""
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    constant = onnx.helper.make_node("Constant", [], [name], value=weight)
    model.graph.node[0].attribute[0].g.node.insert(0, constant)
    model.graph.initializer.remove(weight)
    return model


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "portable"])
def test_large_weights_are_stored_also_moved_ones_and_shared_ones(backend: str) -> None:
    found = plan(backend=backend)
    readers = {weight.tensor: {name for name, _ in weight.readers} for weight in found.weights}
    assert readers.keys() == {"w", "v"} and readers["v"] == {"two", "three"}
    assert {weight.scheme.bits for weight in found.weights} == {16}
    stored = {name for name, reason in found.floats.items() if "stored as integers" in reason}
    assert {"one", "two", "three"} == stored
    assert "fewer than 4,096" in found.floats["tiny"]


def test_tensorrt_leaves_them_alone_and_says_so() -> None:
    found = plan(backend="tensorrt")
    assert not found.weights and found.floats["two"] == "inside the If 'choice', whose body computes in float"


def test_weights_that_are_no_numbers_or_that_a_layer_outside_has_too_stay_float() -> None:
    found = plan(v=np.full((64, 64), np.inf, np.float32))
    assert {weight.tensor for weight in found.weights} == {"w"} and "finite" in found.floats["two"]
    outside = CHOICE.replace("{ [choice] y", "{ [outer] k = MatMul(x, v) [choice] z").replace(
        "> }", "> y = Add(z, k) }"
    )
    found = plan(outside)
    assert found.floats["two"].endswith("others read its weights too")
    assert {name for weight in found.weights if weight.tensor == "v" for name, _ in weight.readers} == {"outer"}


def test_bodies_may_use_one_name_for_two_weights() -> None:
    model = constants_in_body(parse(CHOICE.replace("Gemm(x, v)", "Gemm(x, w)"), **WEIGHTS), "w")
    other = onnx.numpy_helper.from_array(scaled(64, 64, seed=7))
    model.graph.node[0].attribute[1].g.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=other))
    space = workspace(model)
    found = place(space.graph, space.backend, Wishes())
    assert {weight.tensor for weight in found.weights} == {"v"} and "same name" in found.floats["three"]


def test_what_the_user_excludes_in_a_body_stays_and_the_pattern_is_not_idle() -> None:
    found = plan(wishes=Wishes(exclude=("one",), keep_float=("Gemm",)))
    assert not found.weights and found.floats["one"] == "excluded by 'one'"
    space = workspace(parse(CHOICE, **WEIGHTS))
    PlanIntegers(("one",), ("MatMul",))(space)
    assert not space.ledger.of("warning") and {weight.tensor for weight in space.plan.weights} == {"v"}


@pytest.mark.parametrize("as_nodes", [False, True], ids=["initializers", "Constant nodes"])
@pytest.mark.parametrize("bits", [None, 8])
def test_both_branches_keep_their_answers_and_onnxruntime_computes_the_weights_when_it_loads(
    as_nodes: bool, bits: Any
) -> None:
    model = parse(CHOICE, **WEIGHTS)
    if as_nodes:
        model = constants_in_body(model, "w")
    feeds = {"x": np.concatenate([X, 2 * X]), "flag": np.array([True, False])}
    entry = quantize(model, feeds, options=Options(build=False, weight_bits=bits))["onnxruntime"]
    onnx.checker.check_model(entry.model, full_check=True)
    for flag in (True, False):
        wanted = run(load_model(model), x=X, flag=np.array(flag))["y"]
        assert sqnr_db(wanted, run(entry.model, x=X, flag=np.array(flag))["y"]) > (30 if bits else 75)
    engine = onnxruntime.build(entry.model, threads=1)
    assert ops(engine._optimized()) == ["If"]  # type: ignore[attr-defined]
    assert entry.size_after < (0.4 if bits else 0.65) * entry.size_before


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_loop_runs_in_the_engine_and_the_report_says_weights_only(backend: str) -> None:
    entry = quantize(parse(LOOP, w=scaled(64, 64), **COUNT), {"x": normal(4, 64)}, backend=backend)[backend]
    assert entry.problem is None and entry.built is not None and entry.judged is not None
    assert entry.judged.engine[0].sqnr_db > 60
    assert (entry.built.int8_nodes, entry.built.nodes, entry.built.int8_macs) == (0, 1, 0)
    assert "weights only" in entry.ledger.of("warning")[0].reason
    (said,) = (fact for fact in entry.ledger.of("float") if fact.subject == "inner")
    assert said.op_type == "Gemm" and "stored as integers" in said.reason


def test_nothing_changes_the_second_time() -> None:
    space = workspace(parse(LOOP, w=scaled(64, 64), **COUNT), {"x": normal(4, 64)})
    for step in (PlanIntegers(), Calibrate(), RoundWeights(), InsertQdq(), UnfoldDequantize()):
        assert step(space) or isinstance(step, Calibrate)
        assert changes_nothing(space, step)
    assert sorted(ops(space)) == ["Cast", "Cast", "Loop", "Mul"]


@pytest.mark.parametrize(("shape", "wide", "axis"), [((64, 64), 0, 0), ((64, 64), 1, 1), ((1, 256, 64), 1, 1)])
def test_scales_go_along_the_axis_whose_entries_differ_most(shape: tuple[int, ...], wide: int, axis: int) -> None:
    sizes = np.ones((len(shape), max(shape)))
    sizes[wide, ::2] = 100
    factor = sizes[wide, : shape[wide]].reshape([-1 if a == wide else 1 for a in range(len(shape))])
    assert best_axis(normal(*shape) * factor) == axis


def test_an_axis_with_next_to_as_many_scales_as_values_is_not_taken() -> None:
    assert best_axis(normal(4096, 1)) == 1 and best_axis(normal(1024, 4)) == 1
