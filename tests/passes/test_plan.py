"""The plan pass: what the user asked, and what is said when nothing is left."""

import pytest

from onnxq.errors import ModelError, RecipeError
from onnxq.passes import PlanIntegers
from onnxq.testing import changes_nothing, normal, parse, workspace

MODEL = parse("g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = MatMul(b, w) }",
              w=normal(4, 4))  # fmt: skip


def test_a_plan_is_made_once_and_the_graph_stays() -> None:
    space = workspace(MODEL)
    before = space.model()
    assert PlanIntegers()(space)
    assert space.plan.nodes == {"one", "two"} and space.model() == before
    assert changes_nothing(space, PlanIntegers())
    assert PlanIntegers(("two",))(space)
    assert space.plan.nodes == {"one"} and space.plan.floats["two"] == "excluded by 'two'"


def test_wishes_that_meet_nothing_are_warned_of() -> None:
    space = workspace(MODEL)
    PlanIntegers(("three", "one"), ("MatMull",))(space)
    assert [entry.reason for entry in space.ledger.of("warning")] == [
        "exclude 'three' matches no node of the model",
        "keep_float: unknown operator 'MatMull'. Did you mean 'MatMul'? Valid: MatMul, Relu.",
    ]


def test_nothing_to_quantize_says_why() -> None:
    with pytest.raises(ModelError, match=r"nothing to quantize for onnxruntime: .*: excluded by '\.'\.$"):
        PlanIntegers((".",))(workspace(MODEL))
    with pytest.raises(ModelError, match=r": it has none\.$"):
        PlanIntegers()(workspace(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")))


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(RecipeError, match="exclude: '\\*head' is not a regular expression"):
        PlanIntegers(("*head",))
