"""A model that is run part by part answers as it does whole, and keeps no more than later parts read."""

import numpy as np
import pytest

from onnxq.errors import ModelError
from onnxq.model import load_model
from onnxq.testing import Array, normal, parse, run
from onnxq.walk import Walk, held_bytes, levels

BODY = """[one] a = Conv<pads=[1,1,1,1]>(x, w) [relu] b = Relu(a) [two] c = Conv<pads=[1,1,1,1]>(b, w)
    [side] d = Conv<pads=[1,1,1,1]>(x, w) e = Add(c, d) [skip] f = Add(e, b) [three] y = Conv<pads=[1,1,1,1]>(f, w)"""
MODEL = load_model(parse(f"g (float[N,2,4,4] x) => (float[N,2,4,4] y) {{ {BODY} }}", w=normal(2, 2, 3, 3)))
STOPS = [["a", "d"], ["c"], ["y"]]
FEEDS = [{"x": normal(2, 2, 4, 4, seed=seed)} for seed in range(3)]


def test_no_node_needs_what_one_of_its_level_makes() -> None:
    assert levels(MODEL.graph, {"one", "two", "three", "side"}) == [["one", "side"], ["two"], ["three"]]
    assert levels(MODEL.graph, {"two", "skip"}) == [["two"], ["skip"]]
    assert levels(MODEL.graph, set()) == []


def test_parts_together_answer_as_the_whole() -> None:
    walk = Walk(MODEL, STOPS, FEEDS)
    made: list[dict[str, Array]] = []
    for _ in STOPS:
        walk.enter()
        made = [walk.run(at) for at in range(len(FEEDS))]
    for feeds, answer in zip(FEEDS, made, strict=True):
        np.testing.assert_allclose(np.asarray(answer["y"], np.float32), run(MODEL, **feeds)["y"], rtol=1e-5, atol=1e-5)
    assert not any(walk.kept)


def test_only_what_later_parts_read_is_kept_and_inputs_are_counted_once() -> None:
    walks = [Walk(MODEL, STOPS, FEEDS), Walk(MODEL, STOPS, FEEDS)]
    assert held_bytes(walks) == 3 * FEEDS[0]["x"].nbytes
    for expected in ({"a", "d"}, {"b", "c", "d"}, set()):
        for walk in walks:
            walk.enter()
            for at in range(3):
                walk.run(at)
            assert [set(kept) for kept in walk.kept] == [expected] * 3
    assert held_bytes(walks) == 0


def test_a_change_where_a_part_ends_reaches_what_follows() -> None:
    walk = Walk(MODEL, STOPS, FEEDS[:1])
    for number in range(3):
        walk.enter()
        answer = walk.run(0)
        if number == 0:
            walk.kept[0]["a"] = np.add(walk.kept[0]["a"], np.float32(1), dtype=np.float32)
    body = BODY.replace("(x, w) [relu]", "(x, w, o) [relu]")
    text = f"g (float[N,2,4,4] x) => (float[N,2,4,4] y) {{ {body} }}"
    shifted = parse(text, w=normal(2, 2, 3, 3), o=np.ones(2, np.float32))
    np.testing.assert_allclose(np.asarray(answer["y"], np.float32), run(shifted, **FEEDS[0])["y"], rtol=1e-5, atol=1e-5)


def test_bodies_read_tensors_from_outside() -> None:
    body = """[one] a = MatMul(x, w) c = Greater(s, zero)
        [if] b = If (c) <then_branch = t () => (float[N,3] u) { u = Relu(a) }, else_branch = f () => (float[N,3] v)
            { v = Neg(x) }> [two] y = MatMul(b, w)"""
    text = f"g (float[N,3] x, float s) => (float[N,3] y) {{ {body} }}"
    model = load_model(parse(text, w=normal(3, 3), zero=np.array(0, np.float32)))
    for sign in (1, -1):
        feeds = {"x": normal(2, 3), "s": np.array(sign, np.float32)}
        walk = Walk(model, [["a"], ["y"]], [feeds])
        walk.enter()
        walk.run(0)
        assert set(walk.kept[0]) == {"a", "x", "s"}
        walk.enter()
        np.testing.assert_allclose(np.asarray(walk.run(0)["y"], np.float32), run(model, **feeds)["y"], rtol=1e-6)


def test_a_part_that_cannot_run_says_so() -> None:
    walk = Walk(MODEL, STOPS, [{"x": normal(2, 3, 4, 4)}])
    walk.enter()
    with pytest.raises(ModelError, match="cannot run"):
        walk.run(0)
