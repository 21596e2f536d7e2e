"""Tensors that two graphs have, beside each other."""

import numpy as np
import pytest

from onnxq.comparing.inner import layers
from onnxq.testing import normal, parse

TEXT = """g (float[N,4,6,6] x) => (float[N,4,6,6] y)
{ c = Conv<pads = [1,1,1,1]>(x, w) r = Relu(c) y = Conv<pads = [1,1,1,1]>(r, v) }"""
W, V = normal(4, 4, 3, 3), normal(4, 4, 3, 3, seed=1)
FEEDS = [{"x": normal(2, 4, 6, 6, seed=2)}, {"x": normal(3, 4, 6, 6, seed=3)}]
FACTOR = np.array([1, 8, 0.25, 3], np.float32)


def test_every_tensor_is_measured_over_all_samples_in_the_order_of_the_graph() -> None:
    first, second = parse(TEXT, w=W, v=V), parse(TEXT, w=W, v=np.float32(1.1) * V)
    found = layers(first, second, FEEDS)
    assert [(one.tensor, one.operator) for one in found] == [("c", "Conv"), ("r", "Relu"), ("y", "Conv")]
    assert found[0].sqnr_db == found[1].sqnr_db == np.inf
    assert found[2].sqnr_db == pytest.approx(20, abs=1e-3)  # a tenth of everything
    assert not any(one.rescaled for one in found)


def test_factors_that_a_rewrite_moved_are_told_and_not_counted() -> None:
    moved = parse(TEXT, w=W * FACTOR[:, None, None, None], v=V / FACTOR[None, :, None, None])
    c, r, y = layers(parse(TEXT, w=W, v=V), moved, FEEDS)
    assert c.rescaled and r.rescaled and not y.rescaled
    assert min(c.sqnr_db, r.sqnr_db, y.sqnr_db) > 100


def test_noise_is_no_factor() -> None:
    noise = normal(4, 4, 3, 3, seed=5)
    c, *_ = layers(parse(TEXT, w=W, v=V), parse(TEXT, w=W + noise, v=V), FEEDS)
    assert not c.rescaled and c.sqnr_db == pytest.approx(0, abs=2)


def test_what_has_another_shape_or_no_counterpart_is_left_out() -> None:
    other = TEXT.replace("c =", "d =").replace("Relu(c)", "Relu(d)")
    assert [one.tensor for one in layers(parse(TEXT, w=W, v=V), parse(other, w=W, v=V), FEEDS)] == ["r", "y"]
    lone = parse("g (float[N,4,6,6] x) => (float[N,4,6,6] z) { z = Abs(x) }")
    assert layers(lone, parse(TEXT, w=W, v=V), FEEDS) == ()
