"""The grid of a tensor is its own or that of a neighbour that holds the same numbers."""

import numpy as np
import pytest

from onnxq.lifting.lift import Learned
from onnxq.model import load_model, to_graph
from onnxq.retargeting.learned import learned_grid
from onnxq.scheme import QParams, Scheme
from onnxq.testing import normal, parse

GRAPH = """g (float[N,4,4,4] x) => (float[N,36,4] y, float[N,4,4,4] e) {
    [c1] a = Conv<pads = [1,1,1,1]>(x, w) [relu] b = Relu(a) [pool] p = MaxPool<kernel_shape = [2,2]>(b)
    [flat] f = Reshape(p, shape) [t] t = Transpose<perm = [0,2,1]>(f) [mul] m = MatMul(t, v)
    [cat] y = Concat<axis = 1>(m, m, m, m)  [add] e = Add(x, x) }"""


def learned(scale: float, *readers: tuple[str, int]) -> Learned:
    params = QParams(Scheme(signed=True, symmetric=True), np.asarray(scale, np.float32), np.array(0, np.int8))
    return Learned(params, frozenset(readers))


@pytest.mark.parametrize(
    ("known", "asked", "found"),
    [
        pytest.param("a", "b", True, id="behind a Relu"),
        pytest.param("b", "t", True, id="behind a pool and movers"),
        pytest.param("t", "b", True, id="before them, read by nothing else"),
        pytest.param("f", "a", True, id="before a Relu too"),
        pytest.param("y", "m", True, id="before a Concat"),
        pytest.param("x", "e", False, id="not through a sum"),
        pytest.param("x", "a", False, id="not through a layer"),
        pytest.param("t", "m", False, id="not back through a layer"),
    ],
)
def test_neighbours(known: str, asked: str, found: bool) -> None:
    model = parse(GRAPH, w=normal(4, 4, 3, 3), v=normal(4, 4), shape=np.array([0, 4, 9]))
    graph = to_graph(load_model(model))
    grids = {known: [learned(0.1)]}
    params = learned_grid(graph, graph.tensors()[asked], grids, frozenset())
    assert (params is not None) == found


def test_of_several_the_one_its_reader_had() -> None:
    model = parse(GRAPH, w=normal(4, 4, 3, 3), v=normal(4, 4), shape=np.array([0, 4, 9]))
    graph = to_graph(load_model(model))
    grids = {"x": [learned(0.1, ("add", 0)), learned(0.2, ("c1", 0))]}
    params = learned_grid(graph, graph.tensors()["x"], grids, frozenset({("c1", 0)}))
    assert params is not None
    assert params.scale == np.float32(0.2)
