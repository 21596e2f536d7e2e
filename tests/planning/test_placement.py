"""What becomes integer for which backend, on small graphs."""

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from onnxq.backends import backend_of
from onnxq.plan import Plan
from onnxq.planning.placement import Wishes, place
from onnxq.testing import normal, parse, workspace

BACKENDS = ["onnxruntime", "openvino", "tensorrt"]
W = normal(8, 8, 1, 1)
CHAIN = "[one] a = Conv(x, w) [act] b = Relu(a) [two] c = Conv(b, w)"


def plan(
    body: str,
    backend: str = "onnxruntime",
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    out: str = "y",
    inputs: str = "float[N,8,8,8] x",
    **weights: Any,
) -> Plan:
    outputs = ", ".join(f"float {name}" for name in out.split())
    model = parse(f"g ({inputs}) => ({outputs}) {{ {body} }}", **(weights or {"w": W}))
    return place(workspace(model).graph, backend_of(backend), wishes)


def readers(found: Plan) -> dict[str, list[str] | None]:
    """Tensor by tensor who reads integers; None where all do."""
    return {
        name: None if entry.readers is None else sorted(node for node, _ in entry.readers)
        for name, entry in found.activations.items()
    }


@pytest.mark.parametrize(
    ("backend", "wanted"),
    [
        ("onnxruntime", {"x": ["one"], "b": None, "c": None, "d": None}),
        ("openvino", {"x": ["one"], "b": ["add", "two"], "c": ["add"], "d": None}),
        ("tensorrt", {"x": ["one"], "b": ["add", "two"], "d": ["three"]}),
    ],
)
def test_a_residual_sum(backend: str, wanted: dict[str, list[str] | None]) -> None:
    found = plan(f"{CHAIN} [add] d = Add(c, b) [three] e = Conv(d, w) [tail] y = Sigmoid(e)", backend)
    made = readers(found)
    if backend == "onnxruntime":
        wanted["e"] = None
    assert made == wanted
    assert found.nodes == {"one", "two", "three"}
    assert "tail" in found.floats and "add" not in found.floats


def test_a_residual_sum_before_a_relu_leaves_the_branch_that_fuses_alone_on_tensorrt() -> None:
    text = f"{CHAIN} [add] s = Add(c, b) [act] d = Relu(s) [three] e = Conv(d, w) [tail] y = Sigmoid(e)"
    found = plan(text, "tensorrt")
    assert readers(found) == {"x": ["one"], "b": ["add", "two"], "d": ["three"]}
    assert "act" not in found.floats


def test_a_relu_vanishes_into_the_quantizer_behind_it_and_one_that_is_read_twice_does_not() -> None:
    assert "act" not in plan(f"{CHAIN} [tail] y = Exp(c)").floats
    twice = plan(f"{CHAIN} [other] d = Exp(a) [sum] y = Sub(c, d)")
    assert twice.activations["a"].readers is None
    assert readers(twice)["b"] == ["two"]


@pytest.mark.parametrize("op", ["Concat<axis=1>", "Concat<axis=-1>"])
def test_a_concat_between_layers(op: str) -> None:
    body = f"{CHAIN} [cat] d = {op}(b, c) [pool] e = GlobalAveragePool(d) [three] f = Conv(e, v) [t] y = Exp(f)"
    weights: dict[str, Any] = {"w": W, "v": normal(8, 16 if op[12] == "1" else 8, 1, 1)}
    found = plan(body, **weights)
    assert all(entry.everyone for name, entry in found.activations.items() if name != "x")
    assert {"b", "c", "d", "e", "f", "x"} == set(found.activations)
    assert found.watched == set(found.activations)  # a grid for each of them
    openvino = plan(body, "openvino", **weights)
    assert readers(openvino) == {"x": ["one"], "b": ["two"], "e": ["three"]}


def test_a_detection_head_s_tail_stays_float() -> None:
    found = plan(
        f"{CHAIN} [head] d = Conv(c, w) [box] e = Sigmoid(d) [scale] f = Mul(e, two) [cls] g1 = Softmax(d) "
        "[join] y = Concat<axis=1>(f, g1)",
        w=W,
        two=np.array([2], np.float32),
    )
    assert set(found.activations) == {"x", "b", "c", "d"}
    assert set(found.floats) == {"box", "scale", "cls", "join"}
    assert "output of the model" in found.floats["join"]
    assert all("decoded" in found.floats[name] for name in ("box", "scale", "cls"))


def test_what_moves_integers_keeps_their_grid() -> None:
    found = plan(
        "[one] a = Conv(x, w) [pool] b = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) [flat] c = Reshape(b, shape) "
        "[fc] d = Gemm(c, v) [out] y = Exp(d)",
        w=W,
        v=normal(128, 5),
        shape=np.array([0, -1]),
    )
    assert {name: entry.grid for name, entry in found.activations.items()} == {"x": "x", "a": "a", "b": "a", "c": "a"}
    assert found.watched == {"x", "a"}


def test_the_indices_of_a_pool_are_no_activation() -> None:
    found = plan(
        "[one] a = Conv(x, w) [pool] b, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) [two] y = Conv(b, w) "
        "[far] z = Cast<to=1>(i)",
        out="y z",
    )
    assert set(found.activations) == {"x", "a", "b", "y"}


def test_the_parts_of_a_split_are_all_integer() -> None:
    found = plan("[one] a = Conv(x, w) [cut] b, c = Split<axis=1>(a) [two] d = Conv(b, v) [add] y = Sub(d, c)",
                 v=normal(4, 4, 1, 1), w=W)  # fmt: skip
    assert {name: entry.grid for name, entry in found.activations.items() if entry.everyone} == {
        "a": "a", "b": "a", "c": "a", "d": "d"
    }  # fmt: skip


def test_onnxruntime_wants_a_matmul_quantized_before_its_bias() -> None:
    weights: dict[str, Any] = {"w": normal(8, 8), "b": normal(8)}
    body = "[one] a = MatMul(x, w) [bias] c = Add(a, b) [two] y = MatMul(c, w)"
    assert readers(plan(body, inputs="float[N,8] x", **weights)) == {"x": ["one"], "a": None, "c": ["two"]}
    assert readers(plan(body, "openvino", inputs="float[N,8] x", **weights)) == {"x": ["one"], "c": ["two"]}


ATTENTION = "[qk] a = MatMul(q, k) [soft] p = Softmax(a) [pv] b = MatMul(p, v) [out] y = MatMul(b, w)"


def test_a_product_of_activations_is_integer_except_on_tensorrt() -> None:
    inputs = "float[N,8,8] q, float[N,8,8] k, float[N,8,8] v"
    for backend in ("onnxruntime", "openvino"):
        found = plan(ATTENTION, backend, inputs=inputs, w=normal(8, 8))
        assert readers(found) == {"q": ["qk"], "k": ["qk"], "p": ["pv"], "v": ["pv"], "b": ["out"]}
        assert found.nodes == {"out"}
    found = plan(ATTENTION, "tensorrt", inputs=inputs, w=normal(8, 8))
    assert readers(found) == {"b": ["out"]}
    assert "attention" in found.floats["qk"] and "attention" in found.floats["pv"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_user_excludes_stays_float(backend: str) -> None:
    found = plan(f"{CHAIN} [tail] y = Exp(c)", backend, Wishes(exclude=("^tw",)))
    assert found.floats["two"] == "excluded by '^tw'"
    assert found.nodes == {"one"} and "two" not in {name for edges in readers(found).values() for name in edges or ()}
    found = plan(f"{CHAIN} [add] d = Add(c, b) [fc] y = Conv(d, w)", backend, Wishes(keep_float=("Add", "Exp")))
    assert found.floats["add"] == "Add is kept in float on request"
    assert found.nodes == {"one", "two", "fc"}
    nothing = plan(f"{CHAIN} [tail] y = Exp(c)", backend, Wishes(keep_float=("Conv",)))
    assert not nothing.activations and not nothing.weights


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_in_a_branch_computes_in_float_with_a_reason(backend: str) -> None:
    found = plan(
        f"""{CHAIN} [choice] y = If (flag) <
            then_branch = t () => (float[N,8,8,8] u) {{ [inner] u = Conv(c, w) }},
            else_branch = e () => (float[N,8,8,8] v) {{ v = Identity(c) }}>""",
        backend,
        inputs="float[N,8,8,8] x, bool flag",
    )
    assert found.floats["inner"].startswith("inside the If 'choice', whose body computes in float")
    assert found.nodes == {"one", "two"}


DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "double": np.float64, "int32": np.int32}


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_types_than_float32_are_left_with_a_reason(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[dtype]))
    body = f"x = Cast<to={to}>(f) [weight] a = MatMul(x, w) [product] b = MatMul(a, a) y = Cast<to=1>(b)"
    model = parse(f"g (float[8,8] f) => (float[8,8] y) {{ {body} }}", w=normal(8, 8).astype(DTYPES[dtype]))
    space = workspace(model)
    found = place(space.graph, space.backend, Wishes())
    name = {"double": "float64"}.get(dtype, dtype)
    assert {node: found.floats[node] for node in ("weight", "product")} == {
        "weight": f"its weight is {name}, not float32",
        "product": f"its input is {name}, not float32",
    }
    assert not found.activations
    stored = next(tensor for tensor in space.model().graph.initializer if tensor.name == "w")
    assert stored.data_type == model.graph.initializer[0].data_type
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "weights", "reason"),
    [
        ("[n] y = Conv(x, x)", {"w": W}, "computed at run time"),
        ("[n] y = MatMul(x, w)", {"w": normal(8)}, "a vector"),
        ("[n] y = MatMul(v, w)", {"w": normal(8, 8), "v": normal(8, 8)}, "both of its operands are constants"),
        ("[n] y = Conv(x, w)", {"w": np.full((8, 8, 1, 1), np.nan, np.float32)}, "NaN"),
        ("[n] y = ConvTranspose(x, w)", {"w": W}, "no integer kernel"),
    ],
)
def test_a_layer_that_cannot_be_integer_has_a_reason(body: str, weights: dict[str, Any], reason: str) -> None:
    found = plan(body, **weights)
    assert reason in found.floats["n"] and not found.weights


def test_weights_have_scales_per_output_channel_and_batches_of_matrices_one() -> None:
    found = plan(
        "[one] a = MatMul(x, w) [two] b = MatMul(a, v) [three] c = Gemm<transB=1>(d, u) [four] y = MatMul(t, c)",
        "openvino",
        inputs="float[2,4,8] x, float[4,8] d",
        w=normal(8, 6), v=normal(2, 6, 5), u=normal(7, 8), t=normal(3, 4),
    )  # fmt: skip
    assert {weight.tensor: weight.scheme.axis for weight in found.weights} == {"w": 1, "v": None, "u": 0, "t": None}


def test_onnxruntime_has_no_integer_product_with_a_weight_on_the_left() -> None:
    found = plan("[one] a = MatMul(x, w) [two] y = MatMul(t, a)", inputs="float[4,8] x", w=normal(8, 6), t=normal(3, 4))
    assert found.nodes == {"one"} and "first operand" in found.floats["two"]


@pytest.mark.parametrize("op", ["MatMul(x, w)", "Gemm(x, w)"])
def test_onnxruntime_wants_a_product_quantized_behind_its_activation(op: str) -> None:
    body = f"[one] a = {op} [act] b = Relu(a) [tail] y = Exp(b)"
    assert readers(plan(body, inputs="float[N,8] x", w=normal(8, 8))) == {"x": ["one"], "b": None}
    assert readers(plan(body, "openvino", inputs="float[N,8] x", w=normal(8, 8))) == {"x": ["one"]}


def test_what_is_float_between_layers_has_another_reason_than_what_follows_the_last_one() -> None:
    found = plan(f"{CHAIN} [sig] d = Sigmoid(c) [add] e = Add(d, c) [three] f = Conv(e, w) [tail] y = Exp(f)")
    assert "left to onnxruntime" in found.floats["sig"] and "back and forth" in found.floats["add"]


def test_a_weight_that_is_also_an_input_is_a_weight() -> None:
    found = plan("[one] a = Conv(x, w) [two] y = Conv(a, w)", inputs="float[N,8,8,8] x, float[8,8,1,1] w", w=W)
    assert found.nodes == {"one", "two"} and found.weights[0].readers == {("one", 1), ("two", 1)}


def test_placing_changes_nothing() -> None:
    space = workspace(parse(f"g (float[N,8,8,8] x) => (float y) {{ {CHAIN} [t] y = Exp(c) }}", w=W))
    before = space.model().SerializeToString(deterministic=True)
    place(space.graph, space.backend, Wishes())
    assert space.model().SerializeToString(deterministic=True) == before


def test_openvino_quantizes_what_a_layer_makes_where_that_completes_the_integers_around_a_neighbour() -> None:
    pool = "AveragePool<kernel_shape=[2,2], strides=[2,2]>"
    found = plan(f"[one] a = Conv(x, w) [pool] b = {pool}(a) [two] c = Conv(b, w) [t] y = Exp(c)", "openvino")
    assert readers(found) == {"x": ["one"], "a": ["pool"], "b": None}
    assert "pool" not in found.floats
    far = plan(f"[one] a = Conv(x, w) [pool] b = {pool}(a) [t] y = Exp(b)", "openvino")
    assert readers(far) == {"x": ["one"]} and "follows the last linear layer" in far.floats["pool"]
    behind = plan(f"[first] a = Exp(x) [pool] b = {pool}(a) [two] c = Conv(b, w) [t] y = Exp(c)", "openvino")
    assert readers(behind) == {"b": ["two"]}


def test_openvino_quantizes_neither_edge_of_a_sum_whose_other_edge_is_float() -> None:
    found = plan("[one] a = Conv(x, w) [f] b = Exp(a) [two] c = Conv(b, w) [g] d = Tanh(b) [add] e = Add(c, d) "
                 "[three] y = Conv(e, w)", "openvino")  # fmt: skip
    assert readers(found) == {"x": ["one"], "b": ["two"], "e": ["three"]}
    assert "add" in found.floats


def test_a_layer_that_stays_float_gives_no_integers() -> None:
    body = f"{CHAIN} [add] d = Add(c, b) [three] e = Conv(d, w) [tail] y = Sigmoid(e)"
    found = plan(body, "openvino", Wishes(exclude=("^two$",)))
    assert readers(found) == {"x": ["one"], "d": ["three"]}
    assert "add" in found.floats


def test_a_relu_that_vanishes_between_a_layer_and_a_sum() -> None:
    body = "[one] a = Conv(x, w) [act] b = Relu(a) [two] c = Conv(x, w) [add] d = Add(b, c) [three] y = Conv(d, w)"
    found = plan(body, "openvino")
    assert readers(found) == {"x": ["one", "two"], "b": ["add"], "c": ["add"], "d": None}
    assert "act" not in found.floats


@pytest.mark.parametrize("backend", BACKENDS)
def test_pools_in_a_row_and_a_flatten_keep_one_grid(backend: str) -> None:
    pool = "MaxPool<kernel_shape=[2,2], strides=[2,2]>"
    body = (
        f"[one] a = Conv(x, w) [act] b = Relu(a) [p] c = {pool}(b) [q] d = {pool}(c) [flat] e = Flatten(d) "
        "[fc] y = Gemm(e, v)"
    )
    found = plan(body, backend, w=W, v=normal(16, 5))
    if backend == "tensorrt":
        assert readers(found) == {"x": ["one"], "e": ["fc"]}
    else:
        assert {name: found.activations[name].grid for name in "bcde"} == dict.fromkeys("bcde", "b")
        assert readers(found)["b"] == (None if backend == "onnxruntime" else ["p"])
        assert {"b"} == found.watched - {"x", "y"}


def test_the_activation_function_behind_a_tensor_is_noted() -> None:
    found = plan("[one] a = Conv(x, w) [sig] s = Sigmoid(a) [act] b = Mul(a, s) [two] y = Conv(b, w)")
    assert {name: entry.through for name, entry in found.activations.items()} == {
        "x": None, "a": "silu", "b": None, "y": None
    }  # fmt: skip
