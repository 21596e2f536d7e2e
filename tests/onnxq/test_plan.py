"""What a plan says, and what is left of it when a tensor turns out to have no range."""

from onnxq.plan import Activation, Plan, Weight
from onnxq.scheme import ActivationSchemes, Scheme

U8 = Scheme(signed=False, symmetric=False)
SCHEMES = ActivationSchemes(U8, U8, U8)
I8 = Scheme(signed=True, symmetric=True, axis=0)


def activation(tensor: str, *wanted: str, grid: str = "", everyone: bool = False) -> Activation:
    return Activation(tensor, SCHEMES, grid or tensor, frozenset((name, 0) for name in wanted), everyone)


def plan_of(*activations: Activation, weights: tuple[Weight, ...] = ()) -> Plan:
    return Plan({entry.tensor: entry for entry in activations}, weights, {"softmax": "left to the engine"})


PLAN = plan_of(
    activation("x", "one", "two"),
    activation("y", "three", everyone=True),
    activation("pooled", "four", grid="y", everyone=True),
    weights=(
        Weight("w", I8, frozenset([("one", 1), ("three", 1)])),
        Weight("v", I8, frozenset([("two", 1), ("four", 1)])),
        Weight("u", I8, frozenset([("three", 1)])),
    ),
)


def test_watched_are_the_tensors_that_choose_grids_and_nodes_those_with_integer_weights() -> None:
    assert PLAN.watched == {"x", "y"}
    assert PLAN.nodes == {"one", "two", "three", "four"}
    assert PLAN.activations["x"].readers == frozenset([("one", 0), ("two", 0)])
    assert PLAN.activations["y"].readers is None


def test_every_node_that_loses_a_grid_stays_float_for_that_reason() -> None:
    left = PLAN.without({"y": "y is zero"})
    assert left.floats == {"softmax": "left to the engine", "three": "y is zero", "four": "y is zero"}
    assert set(left.activations) == {"x"}
    assert {(weight.tensor, weight.readers) for weight in left.weights} == {
        ("w", frozenset([("one", 1)])),
        ("v", frozenset([("two", 1)])),
    }


def test_a_node_that_lost_one_operand_reads_no_other_as_integers() -> None:
    product = plan_of(
        Activation("a", SCHEMES, "a", frozenset([("product", 0)])),
        Activation("b", SCHEMES, "b", frozenset([("product", 1), ("other", 0)])),
        Activation("c", SCHEMES, "c", frozenset([("product", 2)])),
    ).without({"a": "a is NaN"})
    assert {name: entry.readers for name, entry in product.activations.items()} == {"b": frozenset([("other", 0)])}


def test_nothing_lost_changes_nothing() -> None:
    assert PLAN.without({}) == PLAN


def test_a_node_left_out_by_name_takes_only_itself_along() -> None:
    left = PLAN.without_nodes({"one": "on request"})
    assert left.floats["one"] == "on request"
    assert left.nodes == {"two", "three", "four"}
    assert left.activations["x"].readers == frozenset([("two", 0)])
