"""How many bits activations get: by layer, the same for all that share a grid, refused where a backend has none."""

import pytest

from onnxq.backends import TARGETS, backend_of
from onnxq.errors import RecipeError
from onnxq.passes import BalanceActivations, PlanIntegers
from onnxq.planning.activation_bits import activation_widths, at_bits, refuse_bits
from onnxq.scheme import Scheme
from onnxq.testing import changes_nothing, parse, scaled, workspace

BODY = """[one] a = Conv<pads=[1,1,1,1]>(x, w) [act] b = Relu(a) [two] c = Conv(b, v) [add] d = Add(c, b)
    [pool] e = MaxPool<kernel_shape=[2,2]>(d) [three] f = Conv(e, v) [four] y = Conv(f, v)"""
MODEL = parse(f"g (float[N,3,8,8] x) => (float[N,4,7,7] y) {{ {BODY} }}", w=scaled(4, 3, 3, 3), v=scaled(4, 4, 1, 1))


def planned(bits: int | dict[str, object], backend: str = "onnxruntime") -> dict[str, int]:
    """Bits by tensor."""
    space = workspace(MODEL, backend=backend)
    PlanIntegers(activation_bits=bits)(space)
    return {name: entry.schemes.signed.bits for name, entry in space.plan.activations.items()}


def test_what_layers_read_is_narrow_and_what_else_there_is_has_8_bits() -> None:
    assert planned(4) == {"x": 4, "b": 4, "c": 8, "d": 4, "e": 4, "f": 4, "y": 8}


def test_more_than_8_bits_are_for_all() -> None:
    assert set(planned(16).values()) == {16} and len(planned(16)) == 7


def test_first_and_last_and_names() -> None:
    assert planned({"default": 4, "first": 8, "last": 6}) == {"x": 8, "b": 4, "c": 8, "d": 4, "e": 4, "f": 6, "y": 8}
    assert planned({"default": 4, "^t": 5, "two": 7})["b"] == 5, "the first that fits counts"
    assert planned({"two": 7, "^t": 5}) == {"x": 8, "b": 7, "c": 8, "d": 5, "e": 5, "f": 8, "y": 8}


def test_a_tensor_has_what_the_most_demanding_layer_of_its_grid_asks_for() -> None:
    assert planned({"default": 4, "add": 6})["b"] == 6, "a node that is named counts, though it is no layer"
    assert planned({"default": 4, "three": 7})["d"] == 7, "the pool before passes on the integers that it reads"


def test_a_plan_is_made_once_and_what_is_simulated_is_said() -> None:
    space = workspace(MODEL)
    assert PlanIntegers(activation_bits=4)(space)
    assert changes_nothing(space, PlanIntegers(activation_bits=4)) and PlanIntegers()(space)
    (said,) = (entry.reason for entry in space.ledger.of("warning"))
    assert said.startswith("5 of 7 activations have 4 bits: simulated, as integers of 8 bits that are clipped to 4")


@pytest.mark.parametrize(("backend", "words"), [("onnxruntime", "in float"), ("openvino", "drops"), ("qnn", None)])
def test_what_engines_make_of_16_bits_is_said(backend: str, words: str | None) -> None:
    space = workspace(MODEL, backend=backend)
    PlanIntegers(activation_bits=16)(space)
    said = [entry.reason for entry in space.ledger.of("warning")]
    assert (said == []) if words is None else (len(said) == 1 and words in said[0] and "16 bits" in said[0])


@pytest.mark.parametrize("bits", [0, 1, 9, 12, 15, 17, 32, -4, True])
def test_senseless_numbers_name_the_limit(bits: int) -> None:
    limit = r"not a whole number from 2 to 8, or 16 \(--activation-bits\)\."
    with pytest.raises(RecipeError, match=rf"activation_bits: {bits} is {limit}"):
        PlanIntegers(activation_bits=bits)
    with pytest.raises(RecipeError, match=rf"activation_bits: 'first' is {bits}, {limit}"):
        PlanIntegers(activation_bits={"first": bits})
    with pytest.raises(RecipeError, match=limit):
        BalanceActivations(activation_bits=bits)


def test_a_budget_is_for_weights() -> None:
    with pytest.raises(RecipeError, match="a budget is for weights alone"):
        PlanIntegers(activation_bits={"budget": 4.5})


def test_bits_of_activations_that_are_none_or_floats_are_refused() -> None:
    with pytest.raises(RecipeError, match="activations: false plans none, and activation_bits are set"):
        PlanIntegers(activation_bits=4, activations=False)
    with pytest.raises(RecipeError, match="fp8 has 8 bits"):
        PlanIntegers(activation_bits=4, numbers="fp8")


def test_a_name_that_is_no_regular_expression_and_one_that_finds_nothing() -> None:
    with pytest.raises(RecipeError, match=r"activation_bits: '\*a' is not a regular expression"):
        PlanIntegers(activation_bits={"*a": 4})
    space = workspace(MODEL)
    PlanIntegers(activation_bits={"five": 4})(space)
    assert [entry.reason for entry in space.ledger.of("warning")] == [
        "activation_bits: 'five' matches no node of the model"
    ]


def test_backends_without_16_bits_and_those_of_one_grid_refuse() -> None:
    wide = {name for name in ("onnxruntime", "openvino", "portable", "tensorrt", *TARGETS) if backend_of(name).wide}
    assert wide == {"onnxruntime", "openvino", "portable", "qnn", "qnn_a16", "snpe", "ppl_w8a16", "tflite"}
    with pytest.raises(RecipeError, match="16; TensorRT takes no activations of 16 bits, only 2 to 8"):
        refuse_bits(activation_widths({"default": 4, "last": 16}), backend_of("tensorrt"))
    with pytest.raises(RecipeError, match="the logarithmic grid of NNIE has 8, no others"):
        refuse_bits(activation_widths(4), backend_of("nnie"))
    refuse_bits(activation_widths(8), backend_of("nnie"))


def test_grids_of_16_bits_are_the_backends_own() -> None:
    tflite, qnn = backend_of("tflite"), backend_of("qnn")
    assert at_bits(tflite.activation, tflite, 16).signed == Scheme(signed=True, symmetric=True, bits=16)
    assert at_bits(qnn.activation, qnn, 16) == backend_of("qnn_a16").activation
    a16 = backend_of("qnn_a16")
    assert at_bits(a16.activation, a16, 8) == qnn.activation
    assert at_bits(qnn.activation, qnn, None) is qnn.activation
