"""The models that mutations begin with: those that ship with onnxq, one of each operator's tests, nets put together at
random, and a few that hold what exporters rarely write."""

import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

from onnxq.testing import normal, parse
from random_graphs import IMAGE, TOKENS, VECTOR, network

SHIPPED = Path(__file__).parents[2] / "models"
LARGEST = 400_000  # bytes; larger ones take seconds each
BODIES = """g (float[N,4] x, bool flag, int64 count) => (float[N,4] y) {
    a = MatMul(x, w)
    b = If (flag) <then_branch = t () => (float[N,4] u) { k = Add(a, w1) u = Relu(k) },
                   else_branch = e () => (float[N,4] v) { v = Neg(a) }>
    c = Loop (count, flag, b) <body = l (int64 i, bool go, float[N,4] s) => (bool on, float[N,4] r)
                               { on = Identity(go) r = Add(s, w1) }>
    y = MatMul(c, w) }"""
SHAPES = """g (float[N,4] x) => (float[A,B] y) {
    a = MatMul(x, w) s = Shape(a) n = Gather(s, zero) o = ConstantOfShape(size) z = Add(a, o)
    t = Concat<axis=0>(n, rest) r = Reshape(z, t) q = Expand(half, size) m = Mul(r, q) y = MatMul(m, w) }"""


def seed_model(random_: random.Random) -> onnx.ModelProto:
    """A copy of one of them."""
    model = onnx.ModelProto()
    kind = random_.random()
    if kind < 0.08:
        model.ParseFromString(random_.choice(_shipped()))
    elif kind < 0.35:
        model.ParseFromString(random_.choice(_node_tests()))
    elif kind < 0.55:
        model.CopyFrom(random_.choice([_bodies(), _shapes()]))
    else:
        model.CopyFrom(_network(random_))
    return model


@cache
def _shipped() -> list[bytes]:
    small = (path for path in sorted(SHIPPED.rglob("*.onnx")) if path.stat().st_size < LARGEST)
    return [path.read_bytes() for path in small]


@cache
def _node_tests() -> list[bytes]:
    models: list[Any] = [test.model for test in load_model_tests(kind="node")]
    by_operator = {model.graph.node[-1].op_type: model for model in models}
    return [model.SerializeToString() for _, model in sorted(by_operator.items())]


@cache
def _bodies() -> onnx.ModelProto:
    return parse(BODIES, w=normal(4, 4), w1=normal(4))


@cache
def _shapes() -> onnx.ModelProto:
    rest, size = np.array([4]), np.array([1, 4])
    return parse(SHAPES, w=normal(4, 4), zero=np.array([0]), rest=rest, size=size, half=np.array([0.5], np.float32))


def _network(random_: random.Random) -> onnx.ModelProto:
    def some(table: dict[str, str], most: int) -> list[str]:
        return random_.choices(sorted(table.values()), k=random_.randint(0, most))

    return network(some(IMAGE, 5), some(TOKENS, 3), some(VECTOR, 2), random_.choice([None, 1, 3]), 0.0).model()
