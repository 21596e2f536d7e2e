"""Factors per channel are widened between convolutions, where onnxruntime puts channels last, and nowhere else."""

from typing import Any

import numpy as np
import pytest

from onnxq import Options, quantize
from onnxq.passes.widen_factors import WidenFactors
from onnxq.testing import changes_nothing, normal, parse, run, workspace
from onnxq.workspace import Workspace

BODY = "a = Conv(x, v) c = Relu(a) m = Mul(c, f) y = Conv<group=4>(m, w)"
FACTOR = normal(1, 4, 1, 1)


def space(body: str = BODY, shape: str = "N,4,6,6", **other: Any) -> Workspace:
    weights = {"v": normal(4, 4, 1, 1), "w": normal(4, 1, 3, 3), "f": FACTOR, **other}
    return workspace(parse(f"g (float[{shape}] x) => (float[A,B,C,D] y) {{ {body} }}", **weights))


def factor(found: Workspace) -> Any:
    return next(node.inputs[1].values for node in found.graph.nodes if node.op == "Mul")


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        "a = Conv(x, v) s = Sigmoid(a) c = Mul(a, s) m = Mul(c, f) y = Conv<group=4>(m, w)",
        "a = Conv(x, v) m = Mul(a, f) d = Conv<group=4>(m, w) e = Conv<group=4>(m, w) y = Add(d, e)",
    ],
)
def test_between_convolutions(body: str) -> None:
    found = space(body)
    x = normal(2, 4, 6, 6)
    before = run(found, x=x)["y"]
    assert WidenFactors()(found)
    np.testing.assert_array_equal(run(found, x=x)["y"], before)
    wide = [n.inputs[1].values for n in found.graph.nodes if n.op == "Mul" and hasattr(n.inputs[1], "values")]
    assert [array.shape for array in wide] == [(1, 4, 1, 6)]
    assert changes_nothing(found, WidenFactors())
    assert "1 factors per channel" in found.ledger.of("changed")[0].reason


STAYS = {
    "from no convolution": "m = Mul(x, f) y = Conv<group=4>(m, w)",
    "for no convolution": "a = Conv(x, v) m = Mul(a, f) y = Exp(m)",
    "for another reader too": "a = Conv(x, v) m = Mul(a, f) d = Conv<group=4, pads=[1,1,1,1]>(m, w) y = Add(m, d)",
    "for the model's output": "a = Conv(x, v) y = Mul(a, f)",
    "behind what moves channels": "a = Conv(x, v) t = Transpose<perm=[0,2,3,1]>(a) u = Transpose<perm=[0,3,1,2]>(t) "
    "m = Mul(u, f) y = Conv<group=4>(m, w)",
    "a product of activations": "a = Conv(x, v) b = Conv(x, v) m = Mul(a, b) y = Conv<group=4>(m, w)",
}


@pytest.mark.parametrize("case", STAYS)
def test_elsewhere_it_would_be_slower(case: str) -> None:
    assert changes_nothing(space(STAYS[case]), WidenFactors())


@pytest.mark.parametrize(
    ("shape", "f"),
    [
        ("N,4,6,W", FACTOR),
        ("N,4,6,3", FACTOR[..., 0]),
        ("N,4,6,6", FACTOR[0, 0, 0, 0]),
        ("N,4,6,6", normal(1, 4, 6, 1)),
        ("2,4,6,6", normal(2, 4, 1, 1)),
        ("1,4,6,20000", FACTOR),
    ],
)
def test_other_shapes_stay(shape: str, f: Any) -> None:
    assert changes_nothing(space(shape=shape, f=f), WidenFactors())


def test_a_factor_that_others_read_is_theirs_as_it_was() -> None:
    found = space("a = Conv(x, v) m = Mul(a, f) n = Mul(x, f) e = Conv<group=4, pads=[1,1,1,1]>(m, w) y = Add(n, e)")
    assert WidenFactors()(found)
    assert sorted(node.inputs[1].shape for node in found.graph.nodes if node.op == "Mul") == [
        (1, 4, 1, 1),
        (1, 4, 1, 6),
    ]


def test_unknown_shapes_stay() -> None:
    found = space()
    for tensor in found.graph.tensors().values():
        if tensor.name == "c":
            tensor.shape = None
    assert changes_nothing(found, WidenFactors())


def test_the_factors_that_balance_activations_are_widened_behind_silu() -> None:
    loud = np.array([1, 0.01, 20, 0.1], np.float32).reshape(4, 1, 1, 1)
    text = "a = Conv(x, v) s = Sigmoid(a) b = Mul(a, s) y = Conv<group=4>(b, w)"
    model = parse(f"g (float[N,4,6,6] x) => (float[A,B,C,D] y) {{ {text} }}",
                  v=normal(4, 4, 1, 1) * loud, w=normal(4, 1, 3, 3) / loud)  # fmt: skip
    made = quantize(model, {"x": normal(8, 4, 6, 6)}, options=Options(build=False))["onnxruntime"].model
    held = {tensor.name: list(tensor.dims) for tensor in made.graph.initializer}
    (behind,) = (node for node in made.graph.node if node.op_type == "Mul" and node.input[0] != "x")
    assert held[behind.input[1]] == [1, 4, 1, 6]
