"""Bits of every planned weight."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxq.constants import reach
from onnxq.errors import RecipeError
from onnxq.held_out import noise
from onnxq.options import Options
from onnxq.passes import Calibrate, PlanIntegers
from onnxq.pipeline import quantize
from onnxq.plan import Weight
from onnxq.scheme import dequantize, qparams
from onnxq.scheme import quantize as rounded_to_nearest
from onnxq.second_moments import Moments
from onnxq.solving.allocation import bits_of
from onnxq.solving.widths import Width, Widths
from onnxq.testing import named, normal, parse, scaled, workspace
from onnxq.workspace import RoundedWeight, Workspace

# "loud" is what the outputs depend on most, "quiet" hardly at all, and "large" has most weights.
TEXT = """g (float[N,4,8,8] x) => (float[N,4,8,8] y) {
    loud = Conv(x, a) l = Relu(loud) quiet = Conv(x, b) q = Mul(quiet, tiny) s = Add(l, q)
    large = Conv(s, c) r = Relu(large) y = Conv(r, d) }"""
WEIGHTS = {"a": scaled(8, 4, 1, 1), "b": scaled(8, 4, 1, 1, seed=1), "c": scaled(16, 8, 1, 1, seed=2),
           "d": scaled(4, 16, 1, 1, seed=3), "tiny": np.array(0.01, np.float32)}  # fmt: skip
FEEDS = {"x": normal(8, 4, 8, 8, seed=4)}


def planned(text: str = TEXT, weights: Mapping[str, Any] = WEIGHTS, feeds: Any = FEEDS) -> Workspace:
    space = workspace(named(parse(text, opset=17, **weights)), feeds)
    PlanIntegers()(space)
    Calibrate("minmax")(space)
    return space


def nearest(space: Workspace) -> Any:
    tensors = space.graph.tensors()

    def rounded(weight: Weight, bits: int, known: Mapping[str, Moments]) -> RoundedWeight:
        values, scheme = np.asarray(tensors[weight.tensor].values), replace(weight.scheme, bits=bits)
        params = qparams(scheme, reach(values, scheme))
        return RoundedWeight(rounded_to_nearest(values, params), params)

    return rounded


def found(space: Workspace, bits: Any) -> dict[str, Width]:
    widths = bits_of(space, Widths.of(bits), nearest(space))
    return {weight.tensor: width for weight, width in widths.items()}


def test_bits_by_place_and_by_name() -> None:
    space = planned()
    widths = found(space, {"default": 4, "qui": 5, "first": 8, "^y$": 6, "last": 7, "nothing": 3})
    assert {name: width.bits for name, width in widths.items()} == {"a": 8, "b": 5, "c": 4, "d": 6}
    assert widths["a"].why == "fixed by 'first'" and widths["c"].why == ""
    told = {entry.subject: entry for entry in space.ledger.of("changed")}
    assert told["quiet"].reason == "the bits of its weights are fixed by 'qui'" and told["quiet"].detail == "5 bits"
    assert [entry.reason for entry in space.ledger.of("warning")] == [
        "bits: 'last' fits only layers that an entry before it fits",
        "bits: 'nothing' fits no layer that has integer weights",
    ]


def test_one_width_for_all_and_the_backends_own() -> None:
    assert {width.bits for width in found(planned(), 3).values()} == {3}
    space = planned()
    assert {width.bits for width in found(space, None).values()} == {8} and not space.ledger.entries


@pytest.mark.parametrize("budget", [3.0, 4.5, 6.2])
def test_a_budget_is_spent_where_it_spares_the_output(budget: float) -> None:
    space = planned()
    widths = {name: width.bits for name, width in found(space, {"budget": budget}).items()}
    sizes = {name: WEIGHTS[name].size for name in widths}
    assert sum(sizes[name] * bits for name, bits in widths.items()) <= budget * sum(sizes.values())
    assert widths["b"] < widths["a"]
    uniform = dict.fromkeys(widths, int(budget))
    assert measured(space, widths) < 0.8 * measured(space, uniform)


def test_what_is_predicted_is_measured() -> None:
    space = planned()
    widths = {name: width.bits for name, width in found(space, {"budget": 4.5}).items()}
    (said,) = [entry.reason for entry in space.ledger.of("changed") if entry.subject == "graph"]
    average, db, summed = (float(said.split(word)[1].split()[0]) for word in (" bits ", "SQNR of ", "each does "))
    assert db == pytest.approx(-10 * np.log10(measured(space, widths)), abs=0.06) == pytest.approx(summed, abs=1)
    sizes = [WEIGHTS[name].size for name in widths]
    assert average == pytest.approx(np.average(list(widths.values()), weights=sizes), abs=5e-4)
    shares = [float(entry.detail.split(", ")[1].split()[0]) for entry in space.ledger.of("changed") if entry.detail]
    assert len(shares) == 4 and sum(shares) == pytest.approx(100, abs=0.3)


def measured(space: Workspace, widths: Mapping[str, int]) -> float:
    by_name, rounded = {weight.tensor: weight for weight in space.plan.weights}, nearest(space)
    changed = dict(WEIGHTS)
    for name, bits in widths.items():
        found = rounded(by_name[name], bits, {})
        changed[name] = dequantize(found.integers, found.params)
    return noise(parse(TEXT, opset=17, **WEIGHTS), [parse(TEXT, opset=17, **changed)], [FEEDS])[0]


def test_a_budget_is_for_what_is_not_fixed() -> None:
    space = planned()
    widths = {name: width.bits for name, width in found(space, {"budget": 4, "widths": [4, 8], "large": 2}).items()}
    assert widths == {"a": 4, "b": 4, "c": 2, "d": 4}
    widths = {name: width.bits for name, width in found(space, {"budget": 7, "widths": [4, 8], "large": 2}).items()}
    assert widths["c"] == 2 and set(widths.values()) == {2, 4, 8}
    assert found(space, {"budget": 4, ".": 3})["a"].bits == 3
    assert space.ledger.of("warning")[-1].reason == "bits: nothing is left for the budget of 4"


def test_a_weight_of_two_layers_is_measured_in_both() -> None:
    text = "g (float[N,4,8,8] x) => (float[N,4,8,8] y) { a = Conv(x, w) r = Relu(a) b = Conv(r, w) y = Conv(b, v) }"
    weights = {"w": scaled(4, 4, 1, 1), "v": scaled(4, 4, 1, 1, seed=1)}
    space = planned(text, weights)
    assert {width.bits for width in found(space, {"budget": 4.5}).values()} == {4, 5}
    (said,) = [entry.reason for entry in space.ledger.of("changed") if entry.subject == "graph"]
    together, summed = (float(said.split(word)[1].split()[0]) for word in ("SQNR of ", "each does "))
    assert together == pytest.approx(summed, abs=1.5)


def test_weights_in_bodies_keep_the_backends_bits_and_tables_take_part() -> None:
    text = """g (int64[N] x, bool c) => (float[N,A] y) { e = Gather(t, x) f = MatMul(e, w)
        y = If (c) <then_branch = h () => (float[A,B] g) { v = Constant<value = float[1]{1.0}>() g = MatMul(f, u) },
                    else_branch = k () => (float[A,B] l) { l = Identity(f) }> }"""
    weights = {"t": normal(80, 64), "w": scaled(64, 64), "u": scaled(64, 64, seed=1)}
    space = planned(text, weights, {"x": np.arange(8), "c": np.ones(8, bool)})
    widths = found(space, {"budget": 5})
    assert widths.keys() == {"t", "w", "u"} and widths["u"].bits == 16 and "in a body of If" in widths["u"].why
    assert np.average([widths["t"].bits, widths["w"].bits], weights=[80, 64]) <= 5
    assert any("in a body of If" in entry.reason for entry in space.ledger.of("declined"))


def test_outputs_that_tell_nothing_are_an_error() -> None:
    text = "g (float[N,4] x) => (int64[N,1] y) { a = MatMul(x, w) y = ArgMax<axis=1>(a) }"
    space = planned(text, {"w": scaled(4, 4)}, {"x": normal(8, 4)})
    with pytest.raises(RecipeError, match=r"no float output is finite.*Give bits without a budget"):
        found(space, {"budget": 4})


def test_the_same_bits_whatever_the_batch() -> None:
    model = named(parse(TEXT, opset=17, **WEIGHTS))

    def run(batch: int) -> bytes:
        options = Options(build=False, batch=batch, weight_bits={"budget": 4.5})
        return quantize(model, FEEDS, options=options).quantized.SerializeToString(deterministic=True)

    assert run(1) == run(4) == run(4)
