"""Which nodes stay FP32 when the rest becomes 16-bit, and the reason a user reads."""

from typing import Any

import numpy as np
import pytest

from onnxq.narrow import FLOAT_TYPES, Slots, refusals, slots, touched
from onnxq.statistics import TensorStatistics
from onnxq.testing import normal, parse, workspace

FP16, BF16 = FLOAT_TYPES["fp16"], FLOAT_TYPES["bf16"]


def refused(
    body: str,
    reaches: dict[str, float] | None = None,
    kind: str = "fp16",
    inputs: str = "float[2,4,8,8] x",
    lacking: frozenset[str] = frozenset(),
    **weights: Any,
) -> dict[str, str]:
    """Reasons by node, without what they all begin with; a tensor reaches 1 unless told."""
    graph = workspace(parse(f"g ({inputs}) => (float y) {{ {body} }}", opset=FLOAT_TYPES[kind].opset, **weights)).graph
    reach = dict.fromkeys(graph.tensors(), 1.0) | (reaches or {})
    statistics = {name: TensorStatistics(-high, high) for name, high in reach.items()}
    found = refusals(graph, FLOAT_TYPES[kind], statistics, lacking)
    assert all(": computes in FP32, for " in reason for reason in found.values())
    return {name: reason.partition(", for ")[2] for name, reason in found.items()}


CHAIN = "[one] a = Conv(x, w) [act] b = Relu(a) [two] y = Conv(b, w)"
W = normal(4, 4, 1, 1)


def test_what_fits_is_not_refused() -> None:
    assert refused(CHAIN, w=W) == {}
    assert refused(CHAIN, {"b": 16000}, w=W) == {}


def test_a_tensor_that_overflows_keeps_its_maker_and_its_readers() -> None:
    found = refused(CHAIN, {"b": 2e4}, w=W)  # a quarter of what FP16 holds: other data may reach further
    assert found.keys() == {"act", "two"}
    assert found["act"] == "'b' reaches 2e+04, and FP16 holds 6.55e+04"
    assert refused(CHAIN, {"b": 2e4}, "bf16", w=W) == {}
    assert refused(CHAIN, {"b": np.inf}, "bf16", w=W).keys() == {"act", "two"}
    assert refused(CHAIN, {"b": np.nan}, w=W).keys() == {"act", "two"}


def test_a_tensor_below_the_normal_numbers_does_not_fit_either() -> None:
    found = refused(CHAIN, {"a": 1e-5}, w=W)
    assert found.keys() == {"one", "act"}
    assert found["one"] == "'a' is at most 1e-05, and FP16 keeps few digits of that"
    assert refused(CHAIN, {"a": 0}, w=W) == {}


@pytest.mark.parametrize(
    ("value", "fits"), [(-3.4e38, False), (6e4, True), (1e-12, False), (1e-5, True), (0, True), (-np.inf, False)]
)
def test_constants(value: float, fits: bool) -> None:
    found = refused("[n] a = Add(x, c) [conv] y = Conv(a, w)", w=W, c=np.array([value], np.float32))
    assert found.keys() == (set() if fits else {"n"})


@pytest.mark.parametrize(("kind", "reach"), [("fp16", 400), ("bf16", 50)])
def test_large_numbers_behind_the_last_layer_are_coordinates(kind: str, reach: float) -> None:
    found = refused("[conv] a = Conv(x, w) [scale] y = Mul(a, a)", {"a": 3, "y": reach}, kind, w=W)
    assert found.keys() == {"scale"}
    assert "has steps of 0.39" in found["scale"]
    inside = "[conv] a = Conv(x, w) [scale] b = Mul(a, a) [last] y = Conv(b, w)"
    assert refused(inside, {"b": reach}, kind, w=W) == {}


@pytest.mark.parametrize(
    ("node", "count"),
    [
        ("GlobalAveragePool(x)", 64),
        ("ReduceMean<keepdims=0>(x, axes)", 64),
        ("AveragePool<kernel_shape=[8,8]>(x)", 64),
    ],
)
def test_the_sum_of_a_mean_must_fit(node: str, count: int) -> None:
    body = f"[mean] a = {node} [fc] y = Mul(a, a) [conv] z = Conv(y, w)"
    weights: dict[str, Any] = {"axes": np.array([2, 3]), "w": W}
    high = FP16.largest / count
    assert refused(body, {"a": high * 0.9}, **weights) == {}
    found = refused(body, {"a": high * 1.1}, **weights)
    assert found == {"mean": "the sum of what it averages reaches 7.21e+04, and FP16 holds 6.55e+04"}


def test_what_the_engine_lacks() -> None:
    assert refused(CHAIN, lacking=frozenset({"Relu"}), w=W) == {"act": "the engine has no FP16 form of it"}


def test_what_onnx_has_in_float_alone_and_bodies_stay() -> None:
    body = """[one] a = Conv(x, w) [choice] b = If (flag) <
        then_branch = t () => (float[2,4,8,8] u) { [inner] u = Relu(a) },
        else_branch = e () => (float[2,4,8,8] v) { v = Identity(a) }> [two] y = Conv(b, w)"""
    found = refused(body, inputs="float[2,4,8,8] x, bool flag", w=W)
    assert found == {"one": "the body of an If or a Loop reads it"}  # the If itself computes no floats
    found = refused("[n] y = Range(zero, s, one)", inputs="float s", zero=np.float32(0), one=np.float32(1))
    assert found == {"n": "it has no FP16 form in ONNX"}


def test_slots_follow_the_schema() -> None:
    graph = workspace(
        parse(
            "g (float[1,4,8,8] x) => (float y) { [r] a = Resize(x, , scales) [c] b = Cast<to=1>(a) "
            "[k] i = Cast<to=7>(b) [cat] d = Concat<axis=1>(a, b, a) [s] n = Shape(d) y = Reshape(d, n) }",
            opset=19,
            scales=np.array([1, 1, 2, 2], np.float32),
        )
    ).graph
    nodes = {node.name: slots(node, 19, FP16) for node in graph.nodes}
    assert nodes["r"] == Slots(frozenset({0}), frozenset({0}))  # the scales are FP32 by the schema
    assert nodes["c"] == Slots(frozenset({0}), frozenset())  # an attribute types the output
    assert nodes["cat"] == Slots(frozenset({0, 1, 2}), frozenset({0}))
    assert nodes["s"] == Slots(frozenset({0}), frozenset())


def test_only_what_is_computed_is_watched() -> None:
    graph = workspace(parse(f"g (float[2,4,8,8] x) => (float y) {{ {CHAIN} }}", w=W)).graph
    assert touched(graph) == {"a", "b", "y"}
