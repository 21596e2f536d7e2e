"""Detection heads: what decodes boxes and scores stays in float, found by the graph and not by names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from onnxq.backends import BACKENDS
from onnxq.testing import Array, Pattern, normal, scaled

CELLS = np.stack(np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5)).astype(np.float32).reshape(1, 2, 144)
BODY = "[one] a = Conv<pads=[1,1,1,1]>(x, w) t = Relu(a)"


def number(value: float) -> Array:
    return np.array(value, np.float32)


@dataclass(frozen=True)
class Head:
    """``decodes``: the nodes behind the last layers, none of which may compute in integers."""

    body: str
    weights: Mapping[str, Array]
    outputs: str
    decodes: str
    floats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


HEADS = {
    "anchors": Head(
        f"""{BODY} [head] h = Conv(t, hw, hb) [r1] r = Reshape(h, cells) [t1] s = Transpose<perm=[0,1,3,4,2]>(r)
        [sig] p = Sigmoid(s) [cut] xy, wh, cf = Split<axis=4>(p, parts) [m1] a1 = Mul(xy, two) [s1] b1 = Sub(a1, half)
        [a2] c = Add(b1, grid) [m2] d = Mul(c, eight) [m3] e = Mul(wh, two) [m4] f = Mul(e, e) [m5] g1 = Mul(f, anchors)
        [join] o = Concat<axis=4>(d, g1, cf) [r2] y = Reshape(o, boxes)""",
        {
            "hw": scaled(27, 32, 1, 1),
            "hb": normal(27),
            "cells": np.array([-1, 3, 9, 12, 12]),
            "parts": np.array([2, 2, 5]),
            "half": number(0.5),
            "grid": CELLS.reshape(1, 1, 2, 12, 12).transpose(0, 1, 3, 4, 2).copy(),
            "anchors": np.arange(10, 70, 10, dtype=np.float32).reshape(1, 3, 1, 1, 2),
            "boxes": np.array([-1, 432, 9]),
        },
        "float[N,M,K] y",
        "r1 t1 sig cut m1 s1 a2 m2 m3 m4 m5 join r2",
    ),
    "free_of_anchors": Head(
        f"""{BODY} [reg] b = Conv(t, bw) [obj] o = Conv(t, ow) [so] os = Sigmoid(o) [cls] c = Conv(t, cw)
        [sc] cs = Sigmoid(c) [join] j = Concat<axis=1>(b, os, cs) [flat] f = Reshape(j, cells)
        [turn] r = Transpose<perm=[0,2,1]>(f) [s1] xy = Slice(r, i0, i2, i2) [s2] wh = Slice(r, i2, i4, i2)
        [s3] cf = Slice(r, i4, i9, i2) [a1] d = Add(xy, grid) [m1] e = Mul(d, eight) [ex] h = Exp(wh)
        [m2] k = Mul(h, eight) [last] y = Concat<axis=2>(e, k, cf)""",
        {
            "bw": scaled(4, 32, 1, 1),
            "ow": scaled(1, 32, 1, 1),
            "cw": scaled(4, 32, 1, 1, seed=1),
            "cells": np.array([-1, 9, 144]),
            "grid": CELLS.transpose(0, 2, 1).copy(),
        },
        "float[N,M,K] y",
        "so sc join flat turn s1 s2 s3 a1 m1 ex m2 last",
    ),
    "distributions": Head(
        f"""{BODY} [box] b = Conv(t, bw, bb) [cls] c = Conv(t, cw, cb) [join] j = Concat<axis=1>(b, c)
        [flat] f = Reshape(j, cells) [cut] p, q = Split<axis=1>(f, parts) [r1] pr = Reshape(p, bins)
        [turn] pt = Transpose<perm=[0,2,1,3]>(pr) [soft] s = Softmax<axis=1>(pt) [dfl] d = Conv(s, steps)
        [r2] e = Reshape(d, sides) [s1] lt = Slice(e, i0, i2, i1) [s2] rb = Slice(e, i2, i4, i1) [d1] lo = Sub(grid, lt)
        [a1] hi = Add(grid, rb) [a2] m = Add(lo, hi) [h1] mid = Div(m, two) [d2] size = Sub(hi, lo)
        [j2] k = Concat<axis=1>(mid, size) [m1] l = Mul(k, eight) [sig] z = Sigmoid(q)
        [last] y = Concat<axis=1>(l, z)""",
        {
            "bw": 3 * scaled(64, 32, 1, 1),
            "bb": normal(64),
            "cw": scaled(16, 32, 1, 1),
            "cb": normal(16) - 3,
            "cells": np.array([-1, 80, 144]),
            "parts": np.array([64, 16]),
            "bins": np.array([-1, 4, 16, 144]),
            "steps": np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1),
            "sides": np.array([-1, 4, 144]),
            "grid": CELLS,
        },
        "float[N,M,K] y",
        "join flat cut r1 turn soft dfl r2 s1 s2 d1 a1 a2 h1 d2 j2 m1 sig last",
        {backend: {"dfl": "expectation"} for backend in BACKENDS},
    ),
    "priors": Head(
        f"""{BODY} [down] v = Conv<pads=[1,1,1,1], strides=[2,2]>(t, w2) u = Relu(v) [l0] b0 = Conv(t, bw, bb)
        [t0] c0 = Transpose<perm=[0,2,3,1]>(b0) [r0] d0 = Reshape(c0, fours) [l1] b1 = Conv(u, bw, bb)
        [t1] c1 = Transpose<perm=[0,2,3,1]>(b1) [r1] d1 = Reshape(c1, fours) [k0] e0 = Conv(t, cw, cb)
        [t2] f0 = Transpose<perm=[0,2,3,1]>(e0) [r2] g0 = Reshape(f0, fives) [k1] e1 = Conv(u, cw, cb)
        [t3] f1 = Transpose<perm=[0,2,3,1]>(e1) [r3] g1 = Reshape(f1, fives) [j0] loc = Concat<axis=1>(d0, d1)
        [j1] conf = Concat<axis=1>(g0, g1) [soft] scores = Softmax<axis=2>(conf) [s1] xy = Slice(loc, i0, i2, i2)
        [s2] wh = Slice(loc, i2, i4, i2) [m1] h = Mul(xy, tenth) [m2] k = Mul(h, psize) [a1] mid = Add(k, pmid)
        [m3] m = Mul(wh, fifth) [ex] n = Exp(m) [m4] size = Mul(n, psize) [h1] half = Div(size, two)
        [d1_] lo = Sub(mid, half) [a2] hi = Add(size, lo) [last] boxes = Concat<axis=2>(lo, hi)""",
        {
            "w2": scaled(32, 32, 3, 3, seed=2),
            "bw": scaled(8, 32, 1, 1),
            "bb": normal(8),
            "cw": scaled(10, 32, 1, 1),
            "cb": normal(10),
            "fours": np.array([0, -1, 4]),
            "fives": np.array([0, -1, 5]),
            "tenth": number(0.1),
            "fifth": number(0.2),
            "psize": np.abs(normal(1, 360, 2)),
            "pmid": normal(1, 360, 2),
        },
        "float[N,M,K] boxes, float[N,M,L] scores",
        "t0 r0 t1 r1 t2 r2 t3 r3 j0 j1 soft s1 s2 m1 m2 a1 m3 ex m4 h1 d1_ a2 last",
    ),
    "best_of_all": Head(
        f"{BODY} [cls] c = Conv(t, cw) [sig] s = Sigmoid(c) [flat] f = Flatten(s) [top] y, at = TopK(f, i9)",
        {"cw": scaled(1, 32, 1, 1)},
        "float[N,M] y, int64[N,M] at",
        "sig flat top",
    ),
}
COMMON = {
    "w": scaled(32, 32, 3, 3),
    "two": number(2),
    "eight": number(8),
    **{f"i{value}": np.array([value]) for value in (0, 1, 2, 4, 9)},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", HEADS)
def test_heads_are_decoded_in_float(name: str, backend: str) -> None:
    head = HEADS[name]
    pattern = Pattern(
        head.body,
        {**COMMON, **head.weights},
        {"x": normal(4, 32, 12, 12, seed=9)},
        "float[N,32,12,12] x",
        head.outputs,
        head.floats,
    )
    found = pattern.holds_on(backend).result
    assert set(head.decodes.split()) <= found.plan.floats.keys()


@pytest.mark.parametrize("backend", BACKENDS)
def test_boxes_and_scores_share_no_grid(backend: str) -> None:
    """Scores a hundred times smaller than boxes must not be rounded to nothing on the boxes' grid."""
    weights = {
        **COMMON,
        "bw": 9 * scaled(4, 32, 1, 1),
        "cw": 0.05 * scaled(2, 32, 1, 1),
        "cells": np.array([-1, 6, 144]),
    }
    body = f"""{BODY} [reg] b = Conv(t, bw) [cls] c = Conv(t, cw) [join] j = Concat<axis=1>(b, c)
        [flat] y = Reshape(j, cells)"""
    feeds = {"x": normal(4, 32, 12, 12, seed=9)}
    pattern = Pattern(body, weights, feeds, "float[N,32,12,12] x", "float[N,M,K] y, float[N,A,B,C] c")
    found = pattern.holds_on(backend)
    assert "join" in found.result.plan.floats and found.sqnr_db["c"] > 28


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])  # TensorRT-RTX has no NonMaxSuppression
def test_boxes_are_chosen_in_float(backend: str) -> None:
    weights = {**COMMON, "bw": scaled(4, 32, 1, 1), "cw": scaled(1, 32, 1, 1), "fours": np.array([0, -1, 4])}
    weights |= {"one": np.array([0, 1, -1]), "prior": normal(1, 144, 4), "most": np.array([20]), "iou": number(0.5)}
    body = f"""{BODY} [reg] b = Conv(t, bw) r = Transpose<perm=[0,2,3,1]>(b) f = Reshape(r, fours) boxes = Add(f, prior)
        [cls] c = Conv(t, cw) s = Reshape(c, one) [sig] scores = Sigmoid(s)
        [nms] chosen = NonMaxSuppression(boxes, scores, most, iou, iou)"""
    outputs = "int64[M,K] chosen, float[N,B,D] boxes, float[N,E,F] scores"
    pattern = Pattern(body, weights, {"x": normal(4, 32, 12, 12, seed=9)}, "float[N,32,12,12] x", outputs)
    assert "sig" in pattern.holds_on(backend).result.plan.floats
