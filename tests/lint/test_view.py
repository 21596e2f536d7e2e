"""What rules see of a graph."""

import re
from pathlib import Path

import numpy as np

from onnxq.handmade import I8, POSITIVE, U8, Grid, handmade
from onnxq.lint import lint
from onnxq.lint.finding import Finding
from onnxq.lint.view import MOVES, View, bare_layers, same_grid
from onnxq.testing import normal, parse

TEXT = """g (float[N,4,8,8] x) => (float[N,4,8,8] y) {
    [one] a = Conv(x, w, b) [act] r = Relu(a) [move] t = Transpose<perm = [0,1,3,2]>(r) [two] y = Conv(t, w) }"""


def view(opset: int = 21, **grids: Grid) -> View:
    return View.of(handmade(parse(TEXT, opset, w=normal(4, 4, 1, 1), b=normal(4)), grids))


def test_pairs_tell_what_they_quantize() -> None:
    seen = view(x=U8, r=POSITIVE, w=I8.along(0))
    x, r, w = (next(p for p in seen.pairs.values() if p.node == f"{name}/DQ") for name in "xrw")
    assert (x.source, x.dtype, x.axis, x.constant, x.name) == ("x", "uint8", None, False, "x/Q")
    assert not x.symmetric and r.symmetric
    assert r.interval is not None and r.interval[0] == 0
    assert (w.source, w.dtype, w.axis, w.constant, w.name) == ("w.q", "int8", 0, True, "w/DQ")
    assert w.scale is not None and w.scale.shape == (4,)
    assert same_grid(x, x) and not same_grid(x, r)


def test_a_zero_point_left_out_is_uint8_and_not_spelled_out() -> None:
    (pair,) = view(x=Grid("uint8", None)).pairs.values()
    assert (pair.dtype, pair.spelled_out, pair.symmetric) == ("uint8", False, True)
    assert pair.zero_point is not None and not np.any(pair.zero_point)


def test_pairs_are_seen_through_moves_but_not_through_shapes() -> None:
    seen = view(r=POSITIVE, w=I8.along(0))
    (two,) = (node for node in seen.heavy if node.name == "two")
    found = seen.behind(two.input[0], MOVES)
    assert found is not None and found.source == "r"
    assert seen.behind(two.input[0], ()) is None
    assert [node.name for node in seen.layers_reading(found, MOVES)] == ["two"]
    assert seen.quantized_alone("r") and not seen.quantized_alone("a") and seen.quantized_alone("a", {"Relu"})
    shaped = parse("g (float[N,4] x) => (float[N,4] y) { s = Shape(x) t = Concat<axis = 0>(s) y = Reshape(x, t) }")
    assert [node.op_type for node in View.of(shaped).reached("s", {"Concat"})] == ["Concat"]


def test_bare_layers_read_nothing_quantized() -> None:
    assert bare_layers(view(r=POSITIVE)) == {"one"}
    assert bare_layers(view()) == {"one", "two"}


def test_findings_come_once_and_the_worst_first() -> None:
    def rule(severity: str) -> Finding:
        return Finding("rule", "node", severity, "why", "mend")  # type: ignore[arg-type]

    model = parse(TEXT, w=normal(4, 4, 1, 1), b=normal(4))
    found = lint(
        model, [lambda _: iter([rule("slow"), rule("slow")]), lambda _: iter([rule("rejected"), rule("wrong")])]
    )
    assert [entry.severity for entry in found] == ["rejected", "wrong", "slow"]


def test_every_rule_is_documented() -> None:
    root = Path(__file__).resolve().parents[2]
    files = [*(root / "onnxq/lint").glob("*.py"), root / "onnxq/checking/parity.py"]
    rules = {rule for path in files for rule in re.findall(r'Finding\(\s*"(\w+)"', path.read_text())}
    assert len(rules) > 30
    said = (root / "docs/check.md").read_text()
    assert [rule for rule in sorted(rules) if f"`{rule}`" not in said] == []


def test_what_stands_between_a_packed_weight_and_its_grid_makes_no_activation_of_it() -> None:
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        wide = Cast<to = 3>(stored) around = Sub(wide, shift) w = DequantizeLinear<axis = 0>(around, scales, zeros)
        y = Conv<pads = [1,1,1,1]>(d, w) }"""
    model = parse(
        text,
        21,
        s=np.array(0.1, np.float32),
        z=np.array(128, np.uint8),
        stored=np.ones((4, 4, 3, 3), np.int8),
        shift=np.ones((4, 1, 1, 1), np.int8),
        scales=np.full(4, 0.1, np.float32),
        zeros=np.zeros(4, np.int8),
    )
    seen = View.of(model)
    assert {pair.source: pair.constant for pair in seen.pairs.values()} == {"x": False, "around": True}
    assert [pair.source for pair in seen.activations] == ["x"]
